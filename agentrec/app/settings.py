"""What a demo run is made with."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agentrec.data.negatives import Negatives
from agentrec.policies.ppo_config import PPOConfig


class DemoSettings(BaseModel):
    """Settings of ``agentrec demo``.

    Attributes:
        data: A folder in the neutral format; ``None`` for MovieLens-100K.
        run: The run folder.
        llm: A chat model as ``provider:model``; ``None`` for the embedded one.
        embeddings: Text embeddings: ``minilm``, ``hashed`` or ``provider:model``.
        negatives: How candidates are sampled for sessions that carry none.
        prompts: A folder of the user's own prompts.
        seed: Seed of everything that is drawn.
        max_hints: How many hints the knowledge base may hold.
        max_explored: Most training sessions to look for errors in.
        num_probes: On how many other training sessions a hint has to prove itself.
        max_rewarded: Most training sessions in the reward table.
        concurrency: Most sessions in flight.
        requests_per_minute: Most model calls a minute; ``None`` for no limit.
        lm_steps: Training steps of the embedded model; ``None`` for its recipe's.
        ppo: Hyper-parameters of the policy's training.
    """

    model_config = ConfigDict(frozen=True)

    data: Path | None = None
    run: Path = Path("runs/demo")
    llm: str | None = None
    embeddings: str = "minilm"
    negatives: Negatives = "popularity"
    prompts: Path | None = None
    seed: int = Field(default=0, ge=0)
    max_hints: int = Field(default=20, ge=1)
    max_explored: int = Field(default=300, ge=1)
    num_probes: int = Field(default=64, ge=0)
    max_rewarded: int = Field(default=1500, ge=1)
    concurrency: int = Field(default=64, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    lm_steps: int | None = Field(default=None, ge=1)
    ppo: PPOConfig = Field(default_factory=PPOConfig)
