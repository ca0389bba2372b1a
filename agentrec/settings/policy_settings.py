"""Which hint policy a run has, and what it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentrec.contracts import HintPolicyTrainer
from agentrec.errors import InputError
from agentrec.policies.policy_kinds import find_kind, import_object, trainer_for
from agentrec.policies.rewards.reward_table import RewardShape
from agentrec.policies.rewards.successive_halving import SuccessiveHalving
from agentrec.settings.validation_messages import NestedError, first_error, validation_message


class PolicySettings(BaseModel):
    """Which hint policy a run has, and what it is trained on.

    Attributes:
        kind: Kind of policy: ``scoring_ppo``, ``categorical_ppo``, ``linucb``, ``thompson``,
            ``value_regression``, ``best_single``, ``nearest``, ``random``, ``fixed``, ``no_hint``,
            or a kind that an installed package brings.
        settings: Settings of that kind.
        nearest: How many of the nearest hints the policy chooses among, at least 1; ``None`` for
            32, or for ``max_hints`` if that is more.
        halving: Whether each training session is tried with a few hints only, by successive
            halving.
        shape: The reward: ``ndcg``, the paper's difference, or one by rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(default="scoring_ppo", min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    nearest: int | None = Field(default=None, ge=1)
    halving: bool = False
    shape: RewardShape = "ndcg"

    @model_validator(mode="after")
    def _known(self) -> Self:
        """Check now what would otherwise fail after hours of measuring."""
        try:
            model: type[BaseModel] = import_object(find_kind(self.kind).settings)
        except InputError as error:
            raise NestedError(["kind"], error.problem) from error
        try:
            model.model_validate(self.settings)
        except ValidationError as error:
            first = first_error(error)
            keys = [str(part) for part in first["loc"]]
            raise NestedError(
                ["settings", *keys], validation_message(first, keys, model)
            ) from error
        return self

    def trainer(self, checkpoint: Path | None = None) -> HintPolicyTrainer:
        """Return the trainer of the policy.

        Args:
            checkpoint: Folder that keeps a stopped training.
        """
        return trainer_for(self.kind, self.settings, checkpoint=checkpoint)

    def plan(self, seed: int) -> SuccessiveHalving | None:
        """Return which hints are tried on which training session; ``None`` for all on all."""
        return SuccessiveHalving(seed=seed) if self.halving else None

    def hints_offered(self, max_hints: int) -> int:
        """Return how many hints a session is offered at most."""
        return self.nearest or max(32, max_hints)
