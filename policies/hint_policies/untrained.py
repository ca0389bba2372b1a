"""Policies that learn nothing: what a trained one has to beat. Each has a trainer all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.contracts import HintPolicy
from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.training_data import check_training

_BELOW_ANY_COSINE = -2.0


class NoSettings(BaseModel):
    """The settings of a policy that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FixedHintSettings(BaseModel):
    """Which hint a fixed policy gives.

    Attributes:
        hint_id: The hint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hint_id: str = Field(min_length=1)


class NearestHintSettings(BaseModel):
    """How similar a hint must be.

    Attributes:
        min_similarity: A session gets a hint only if its cosine is above this, -1 to 1; ``None``
            for a hint always. Larger: fewer hints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_similarity: float | None = Field(default=None, ge=-1, le=1)


class _RandomSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int


class _SettingsAlone(PolicyOnDisk):
    """A policy that its settings describe completely; they are its arguments."""

    settings_model: ClassVar[type[BaseModel]] = NoSettings

    def __init__(self, **settings: Any) -> None:
        # Pydantic's own error is a ValueError.
        self.settings = self.settings_model(**settings)

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``."""
        return self.settings, {}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``."""
        settings = stored.parse_description(cls.settings_model)
        stored.reject_unused_tensors()
        return cls(**dict(settings))


class NoHintPolicy(_SettingsAlone):
    """Never gives a hint."""

    kind: ClassVar[str] = "no_hint"

    def choose(self, offer: HintOffer) -> HintChoices:
        """Give no session a hint, with certainty."""
        scores = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 0] = 1
        return choose_best(offer, scores)


class FixedHintPolicy(_SettingsAlone):
    """Gives every session the same hint, and none where that hint is not on offer.

    Args:
        hint_id: The hint.
    """

    kind: ClassVar[str] = "fixed"
    settings_model = FixedHintSettings

    def __init__(self, hint_id: str) -> None:
        super().__init__(hint_id=hint_id)
        self.hint_id = hint_id

    def choose(self, offer: HintOffer) -> HintChoices:
        """Give the hint to each session that is offered it, with certainty."""
        # The last entry stands for "no candidate".
        is_mine = np.array([*(one == self.hint_id for one in offer.hint_ids), False])
        scores = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 1:] = is_mine[offer.candidates]
        return choose_best(offer, scores)


class RandomHintPolicy(_SettingsAlone):
    """Gives each session one of the hints it is offered, all equally likely.

    No hint is chosen only where no hint is on offer. The draw is a pure function of the seed, the
    session's state and the set of hints that this session is offered: it does not depend on the
    batch, on the order of the hints or on earlier calls, and equal states get equal hints. All
    hints have the same score.

    Args:
        seed: Another seed, another draw.
    """

    kind: ClassVar[str] = "random"
    settings_model = _RandomSettings

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed

    def choose(self, offer: HintOffer) -> HintChoices:
        """Draw a hint for each session."""
        counts = offer.present.sum(axis=1).tolist()
        # Adding 0 turns -0.0 into 0.0: equal states have equal bytes.
        rows = np.ascontiguousarray(offer.states, dtype=np.float32) + np.float32(0)
        drawn = np.array(
            [self._draw(row) % max(1, count) for row, count in zip(rows, counts, strict=True)],
            dtype=np.int64,
        )
        scores = np.ones((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 0] = 0
        return HintChoices(
            offer,
            np.where(np.array(counts) > 0, 1 + _column_of_rank(offer, drawn), 0),
            -np.log(np.maximum(counts, 1)).astype(np.float32),
            np.zeros(len(offer), dtype=np.float32),
            masked(offer, scores),
        )

    def _draw(self, state: npt.NDArray[np.float32]) -> int:
        digest = hashlib.sha256(f"{self.seed}:".encode() + state.tobytes()).digest()
        return int.from_bytes(digest[:8], "little")


class NearestHintPolicy(_SettingsAlone):
    """Plain retrieval: gives each session the hint whose text vector is most similar to it.

    Of equally similar hints it gives the one with the smallest id. Scores are the cosines; that of
    no hint is ``min_similarity``.

    Args:
        min_similarity: See ``NearestHintSettings``.

    Raises:
        ValueError: If ``min_similarity`` is out of range.
    """

    kind: ClassVar[str] = "nearest"
    settings_model = NearestHintSettings

    def __init__(self, min_similarity: float | None = None) -> None:
        super().__init__(min_similarity=min_similarity)
        self._min_similarity = min_similarity

    def choose(self, offer: HintOffer) -> HintChoices:
        """Give each session the nearest hint, with certainty."""
        least = self._min_similarity
        scores = np.empty((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 0] = _BELOW_ANY_COSINE if least is None else least
        scores[:, 1:] = offer.similarities
        return choose_best(offer, scores)


class _UntrainedTrainer:
    """Makes a policy of its settings; the sessions are checked, as by any trainer, and not used."""

    policy: ClassVar[type[_SettingsAlone]]

    def __init__(self, settings: BaseModel | None = None) -> None:
        self._settings = {} if settings is None else dict(settings)

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> HintPolicy:
        """Make the policy; see ``HintPolicyTrainer.fit``."""
        check_training(train, valid)
        if on_progress is not None:
            on_progress(1, 1)
        return self._made(seed)

    def _made(self, seed: int) -> HintPolicy:
        return cast("HintPolicy", self.policy(**self._settings))


class NoHintTrainer(_UntrainedTrainer):
    """Makes a ``NoHintPolicy``."""

    policy = NoHintPolicy


class FixedHintTrainer(_UntrainedTrainer):
    """Makes a ``FixedHintPolicy`` with ``FixedHintSettings``."""

    policy = FixedHintPolicy


class NearestHintTrainer(_UntrainedTrainer):
    """Makes a ``NearestHintPolicy`` with ``NearestHintSettings``."""

    policy = NearestHintPolicy


class RandomHintTrainer(_UntrainedTrainer):
    """Makes a ``RandomHintPolicy`` with the seed of ``fit``."""

    def _made(self, seed: int) -> HintPolicy:
        return RandomHintPolicy(seed)


def _column_of_rank(offer: HintOffer, ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Column of each session's candidate with the ``ranks``-th smallest id, ``[batch]``."""
    if not offer.width:
        return np.zeros(len(offer), dtype=np.int64)
    hint_ids = offer.hint_ids
    # The last entry stands for "no candidate", which comes behind all.
    rank_of_id = np.full(len(hint_ids) + 1, len(hint_ids))
    rank_of_id[sorted(range(len(hint_ids)), key=hint_ids.__getitem__)] = np.arange(len(hint_ids))
    order = np.argsort(rank_of_id[offer.candidates], axis=1)
    columns: npt.NDArray[np.int64] = order[np.arange(len(offer)), ranks]
    return columns
