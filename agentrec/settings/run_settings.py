"""Every setting of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.data.negatives import Negatives
from agentrec.graphs.hint_learning.admission import StoppingRules
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
    """Which hints are admitted, and when the search for hints ends.

    Attributes:
        max_harm_rate: Largest share of sessions, 0 to 1, that an admitted hint may make worse.
            Lower: safer hints, but fewer.
        similarity: Cosine of two hints' vectors, above 0 to 1, from which on they are the same.
        grey_zone: Cosine from which on two hints may be the same; the arbiter decides.
        arbiter: ``rule`` compares words and costs nothing; ``model`` asks the language model.
        effect_correlation: Correlation of two hints' effects on the same sessions from which on
            they are merged, above 0; above 1 for never.
        reflection_rounds: Most times a model is asked for hints until one repairs the error, at
            least 1.
        english_hints_only: Whether proposed hints in other languages are rejected: orders to the
            model are recognised in English only.
        max_questions: Questions about errors after which the search ends, at least 1; ``None``
            for no limit.
        patience: Reflections in a row without an admission after which the search ends, at least
            1; ``None`` for no limit.
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
        """Return when to stop."""
        return StoppingRules(max_questions=self.max_questions, patience=self.patience)


class RunSettings(BaseModel):
    """Every setting of a run; ``load_settings`` gathers them from their sources.

    Attributes:
        data: A folder in the neutral format; ``None`` for MovieLens-100K.
        run: The run folder.
        llm: The language model; its name alone may stand for the section.
        limits: How fast the model is called.
        retries: When a failed call is repeated.
        budget: What the run may spend.
        prices: What tokens cost.
        embeddings: Text embeddings: ``minilm``, ``hashed``, ``PROVIDER:MODEL``, or the name of
            those that an installed package brings.
        hints: Where the hints are: a folder, the URL of a Qdrant server, or ``NAME:LOCATION`` of
            a store that an installed package brings; ``None`` for the run folder.
        negatives: How candidates are sampled for sessions that come without.
        prompts: A folder of your own prompts.
        seed: Seed of everything that is sampled.
        max_hints: Most hints in the knowledge base.
        max_explored: Most training sessions that are searched for errors.
        num_probes: On how many other training sessions a hint has to prove itself.
        explore: Which hints are admitted, and when the search for hints ends.
        max_rewarded: Most training sessions, and most validation sessions, on which hints are
            measured.
        lm_steps: Training steps of the embedded model; ``None`` for those of its recipe.
        state_blocks: What a policy sees of a session, in this order; see ``BlockName``.
        backbone: The recommender by item ids that is trained as a baseline and kept in the run
            folder: ``sasrec``, ``gru4rec`` or ``none``. It takes half a minute on MovieLens-100K;
            time and memory grow with catalogue and sessions. If candidates are sampled
            uniformly (``negatives``), it is trained for that.
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
    hints: str | None = None
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
            raise ValueError("names a block twice")
        return blocks
