"""Around any policy: no hint where what it chose is not predicted to help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.hint_offers import HintChoices, HintOffer
from agentrec.policies.hint_policies.value_regression import (
    ValueRegressionConfig,
    ValueRegressionPolicy,
    ValueRegressionTrainer,
)
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.policy_kinds import imported, kind_named, trainer_for
from agentrec.rewarded_offers import RewardedOffer

# Probabilities are made in single precision.
_ROUNDING = 1e-3

_Made = TypeVar("_Made")


@runtime_checkable
class StorablePolicy(HintPolicy, Protocol):
    """A policy that says what it has to remember, as every ``PolicyOnDisk`` that chooses does."""

    kind: ClassVar[str]

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What the numbers mean, and the numbers by name."""
        ...


class AbstainingSettings(BaseModel):
    """What is trained, and when it abstains.

    Attributes:
        policy: Kind of the policy that chooses.
        settings: What that kind can be set to.
        gains: Settings of the regression that predicts what a hint brings.
        least_gain: A hint is given only where its predicted gain is above this, -1 to 1. Larger:
            fewer hints, and surer ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str = Field(default="best_single", min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    gains: ValueRegressionConfig = ValueRegressionConfig()
    least_gain: float = Field(default=0.0, ge=-1, le=1)


class _Part(BaseModel):
    """The policy within the policy: its kind, and what it wrote about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(min_length=1)
    description: dict[str, Any]


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    least_gain: float = Field(ge=-1, le=1)
    policy: _Part
    gains: dict[str, Any]


class AbstainingHintPolicy(PolicyOnDisk):
    """Gives the hint that another policy chooses, and none where that is not predicted to help.

    Scores are the other policy's, also of hints that are abstained from: the best score is not
    always what is taken. Values are the predicted gain of what is taken, 0 for no hint.

    Args:
        policy: What chooses. Where its choices are not certain, its scores have to be the logs of
            the probabilities it draws by, as those of PPO policies are: no other tells how likely
            it was to choose a hint that is abstained from.
        gains: What predicts. It was trained on states and vectors of the same widths.
        least_gain: No hint where the predicted gain is not above this, -1 to 1.

    Raises:
        ValueError: If ``least_gain`` is out of range.
    """

    kind: ClassVar[str] = "abstaining"

    def __init__(
        self, policy: StorablePolicy, gains: ValueRegressionPolicy, least_gain: float = 0.0
    ) -> None:
        if not -1 <= least_gain <= 1:
            raise ValueError(f"least_gain is -1 to 1, not {least_gain}")
        self.policy = policy
        self.gains = gains
        self.least_gain = least_gain

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions; as certain of it as the policy that chooses.

        Raises:
            ValueError: States or vectors are not as wide as the trained ones, or the policy that
                chooses draws and does not tell by which probabilities.
        """
        chosen = self.policy.choose(offer)
        predicted = self.gains.predicted(offer)
        no_hint = predicted <= self.least_gain
        no_hint[:, 0] = True
        rows = np.arange(len(offer))
        options = np.where(no_hint[rows, chosen.options], 0, chosen.options)
        return HintChoices(
            offer,
            options,
            np.where(
                options == 0, _log_probability_of_any(chosen, no_hint), chosen.log_probabilities
            ).astype(np.float32),
            # Column 0 is 0.
            predicted[rows, options],
            chosen.scores,
        )

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember: all of both parts."""
        inner, tensors = self.policy.stored_parts()
        gains, of_gains = self.gains.stored_parts()
        description = _Description(
            least_gain=self.least_gain,
            policy=_Part(kind=self.policy.kind, description=inner.model_dump(mode="json")),
            gains=gains.model_dump(mode="json"),
        )
        return description, {
            **{f"policy.{name}": values for name, values in tensors.items()},
            **{f"gains.{name}": values for name, values in of_gains.items()},
        }

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        description = stored.described_as(_Description)
        known = ValueRegressionPolicy
        gains = _part(stored, "gains", known.kind, description.gains, known.from_stored)
        inner = description.policy
        policy = _part(stored, "policy", inner.kind, inner.description, _of_any_kind)
        stored.refuse_other_tensors()
        return cls(policy, gains, description.least_gain)


class AbstainingTrainer:
    """Trains a policy, and what tells it when to abstain, on the same sessions.

    Args:
        settings: What is trained; ``None`` for the defaults.
        checkpoint: Where the training of the policy that chooses is found again after it was
            stopped; ``None`` for nowhere.

    Raises:
        InputError: Nobody knows the kind of policy, or a setting is not one of its.
    """

    def __init__(
        self, settings: AbstainingSettings | None = None, checkpoint: Path | None = None
    ) -> None:
        self.settings = settings or AbstainingSettings()
        self._trainer = trainer_for(
            self.settings.policy, self.settings.settings, checkpoint=checkpoint
        )

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AbstainingHintPolicy:
        """Train both; see ``HintPolicyTrainer.fit``. Progress is that of the policy that chooses.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
            InputError: If the policy that chooses is of a kind that cannot be stored.
        """
        # The quick part first: nobody waits for the other, only to be told that this one failed.
        gains = ValueRegressionTrainer(self.settings.gains).fit(train, valid, seed=seed)
        policy = self._trainer.fit(train, valid, seed=seed, on_progress=on_progress)
        if not isinstance(policy, StorablePolicy):
            raise InputError(f"{self.settings.policy!r} cannot be stored within another policy")
        return AbstainingHintPolicy(policy, gains, self.settings.least_gain)


def _log_probability_of_any(
    chosen: HintChoices, options: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """The log of the probability with which a policy takes one of some options, ``[batch]``.

    Args:
        chosen: Its choices; what is said where these are not among the options has no meaning.
        options: Shape ``[batch, 1 + width]``.
    """
    certain = chosen.log_probabilities == 0
    probabilities = np.exp(np.where(certain[:, None], -np.inf, chosen.scores), dtype=np.float64)
    taken = probabilities[np.arange(len(certain)), chosen.options]
    told = (np.abs(probabilities.sum(axis=1) - 1) <= _ROUNDING) & (
        np.abs(taken - np.exp(chosen.log_probabilities)) <= _ROUNDING
    )
    if not bool((told | certain).all()):
        raise ValueError(
            "the policy that chooses draws, and its scores are not log-probabilities; "
            "only a certain one will do, or one that tells them"
        )
    total = np.where(options, probabilities, 0).sum(axis=1)
    # Rounding can leave a certain choice a hair above probability 1.
    logs = np.log(np.clip(total, np.finfo(np.float32).tiny, 1))
    return np.where(certain, 0, logs).astype(np.float32)


def _part(
    stored: StoredPolicy,
    name: str,
    kind: str,
    description: dict[str, Any],
    make: Callable[[StoredPolicy], _Made],
) -> _Made:
    """Make one of the two policies, of the tensors that are its own; these are taken."""
    prefix = f"{name}."
    own = {tensor for tensor in stored.tensors if tensor.startswith(prefix)}
    tensors = {one.removeprefix(prefix): stored.tensors.pop(one) for one in own}
    files = (stored.description_file, stored.weights_file)
    try:
        return make(StoredPolicy(kind, description, tensors, *files))
    except InputError as error:
        # The part does not know that it is one; a kind that nobody knows names no place at all.
        file, field = error.file or stored.description_file, error.field or "kind"
        raise InputError(error.problem, file=file, field=f"{prefix}{field}") from error


def _of_any_kind(stored: StoredPolicy) -> StorablePolicy:
    policy = imported(kind_named(stored.kind).policy).from_stored(stored)
    if not isinstance(policy, StorablePolicy):
        raise InputError(f"{stored.kind!r} cannot be stored within another policy")
    return policy
