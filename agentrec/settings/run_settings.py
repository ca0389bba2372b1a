"""Every setting of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.data.negatives import Negatives
from agentrec.graphs.hint_learning.admission_turns import StoppingRules
from agentrec.graphs.hint_learning.arbiter import arbiter_named
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.sequential.config import BackboneKind
from agentrec.session_encoding.blocks import DEFAULT_BLOCKS, BlockName
from agentrec.settings.model_settings import (
    BudgetSettings,
    LimitsSettings,
    LlmSettings,
    PricesSettings,
    RetriesSettings,
)
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.prefer_settings import PreferSettings


class ExploreSettings(BaseModel):
    """What a hint has to be, and for how long hints are looked for.

    Attributes:
        max_harm_rate: Share of sessions, 0 to 1, that an admitted hint may make worse. Lower:
            safer hints, fewer of them.
        similarity: Cosine of their vectors from which on two hints say the same, above 0 to 1.
        grey_zone: Cosine from which on two hints may say the same; in between the arbiter decides.
        arbiter: ``rule`` compares words and costs nothing; ``model`` asks the language model.
        effect_correlation: Correlation of what two hints did to the same sessions from which on
            they are merged, above 0; above 1 for never.
        reflection_rounds: How often a model is asked for hints at most until one repairs the
            error, at least 1.
        english_hints_only: Whether proposed hints in other languages are rejected: orders to the
            model are recognised in English alone.
        max_questions: Questions about errors after which it is enough, at least 1; ``None`` for
            no such bound.
        patience: Reflections in a row without an admission after which it is enough, at least 1;
            ``None`` for no such bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_harm_rate: float = Field(default=0.5, ge=0, le=1)
    similarity: float = Field(default=0.97, gt=0, le=1)
    grey_zone: float = Field(default=0.85, ge=-1, le=1)
    arbiter: Literal["rule", "model"] = "rule"
    effect_correlation: float = Field(default=0.9, gt=0)
    reflection_rounds: int = Field(default=1, ge=1)
    english_hints_only: bool = True
    max_questions: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=1)

    def rules(self) -> StoppingRules:
        """When to stop."""
        return StoppingRules(max_questions=self.max_questions, patience=self.patience)

    def fields(self, model: ModelGateway, prompts: Prompts) -> dict[str, Any]:
        """The fields of ``Components`` that these settings decide."""
        return {
            "hint_similarity": self.similarity,
            "hint_grey_zone": self.grey_zone,
            "hint_arbiter": arbiter_named(self.arbiter, model, prompts),
            "effect_correlation": self.effect_correlation,
            "max_harm_rate": self.max_harm_rate,
            "reflection_rounds": self.reflection_rounds,
            "english_hints_only": self.english_hints_only,
        }


class RunSettings(BaseModel):
    """Settings of ``agentrec demo``; ``load_settings`` gathers them from where people put them.

    Attributes:
        data: A folder in the neutral format; ``None`` for MovieLens-100K.
        run: The run folder.
        llm: The language model; its name alone stands for a section with nothing else.
        limits: How fast it is asked.
        retries: When a failed call is made again.
        budget: What the run may spend.
        prices: What tokens cost.
        embeddings: Text embeddings: ``minilm``, ``hashed`` or ``provider:model``.
        negatives: How candidates are sampled for sessions that carry none.
        prompts: A folder of the user's own prompts.
        seed: Seed of everything that is drawn.
        max_hints: How many hints the knowledge base may hold.
        max_explored: Most training sessions to look for errors in.
        num_probes: On how many other training sessions a hint has to prove itself.
        explore: What a hint has to be, and for how long hints are looked for.
        max_rewarded: Most training sessions, and most validation sessions, that hints are
            measured on.
        lm_steps: Training steps of the embedded model; ``None`` for its recipe's.
        state_blocks: What a policy sees of a session, in this order; see ``BlockName``.
        backbone: The recommender by item ids that is trained as a baseline and kept in the run
            folder: ``sasrec``, ``gru4rec``, or ``None`` (in words ``none``) for none. It takes
            half a minute on MovieLens-100K; time and memory grow with catalogue and sessions.
            Where candidates are drawn evenly (``negatives``), it is trained for such.
        policy: Which hint policy is trained, and on what.
        prefer: How preference texts are collected, and what rewards them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path | None = None
    run: Path = Path("runs/demo")
    llm: LlmSettings = Field(default_factory=LlmSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    retries: RetriesSettings = Field(default_factory=RetriesSettings)
    budget: BudgetSettings = Field(default_factory=BudgetSettings)
    prices: PricesSettings = Field(default_factory=PricesSettings)
    embeddings: str = "minilm"
    negatives: Negatives = "popularity"
    prompts: Path | None = None
    seed: int = Field(default=0, ge=0)
    max_hints: int = Field(default=20, ge=1)
    max_explored: int = Field(default=300, ge=1)
    num_probes: int = Field(default=64, ge=0)
    explore: ExploreSettings = Field(default_factory=ExploreSettings)
    max_rewarded: int = Field(default=1500, ge=1)
    lm_steps: int | None = Field(default=None, ge=1)
    state_blocks: tuple[BlockName, ...] = Field(default=DEFAULT_BLOCKS, min_length=1)
    backbone: BackboneKind | None = "sasrec"
    policy: PolicySettings = Field(default_factory=PolicySettings)
    prefer: PreferSettings = Field(default_factory=PreferSettings)

    @field_validator("llm", mode="before")
    @classmethod
    def _name_alone(cls, llm: Any) -> Any:
        return {"name": llm} if isinstance(llm, str) else llm

    @field_validator("backbone", mode="before")
    @classmethod
    def _none_in_words(cls, backbone: Any) -> Any:
        # Neither TOML nor a command line has a word for it.
        return None if backbone == "none" else backbone

    @field_validator("policy", mode="before")
    @classmethod
    def _kind_alone(cls, policy: Any) -> Any:
        return {"kind": policy} if isinstance(policy, str) else policy

    @field_validator("state_blocks")
    @classmethod
    def _each_once(cls, blocks: tuple[BlockName, ...]) -> tuple[BlockName, ...]:
        if len(set(blocks)) < len(blocks):
            raise ValueError("a block is named twice")
        return blocks
