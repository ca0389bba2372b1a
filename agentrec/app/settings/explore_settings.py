"""Settings of the search for hints: what is admitted, what is the same, when it is enough."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentrec.graphs.hint_learning.admission_turns import StoppingRules
from agentrec.graphs.hint_learning.arbiter import arbiter_named
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts


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
        }
