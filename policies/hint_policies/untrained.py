"""Policies that learn nothing: what a trained one has to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.contracts import HintPolicy
from agentrec.hint_offers import HintChoices, HintOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.training_data import check_training
from agentrec.rewarded_offers import RewardedOffer


class NoSettings(BaseModel):
    """Of a policy that has nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoHintPolicy(PolicyOnDisk):
    """Never gives a hint."""

    kind: ClassVar[str] = "no_hint"

    def choose(self, offer: HintOffer) -> HintChoices:
        """No hint for each session, with certainty."""
        scores = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 0] = 1
        return choose_best(offer, scores)

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
        return NoSettings(), {}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        stored.described_as(NoSettings)
        stored.refuse_other_tensors()
        return cls()


class FixedHintSettings(BaseModel):
    """Which hint a fixed policy gives.

    Attributes:
        hint_id: The hint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hint_id: str = Field(min_length=1)


class FixedHintPolicy(PolicyOnDisk):
    """Gives every session the same hint, and none where that hint is not on offer.

    Args:
        hint_id: The hint.
    """

    kind: ClassVar[str] = "fixed"

    def __init__(self, hint_id: str) -> None:
        self.hint_id = hint_id

    def choose(self, offer: HintOffer) -> HintChoices:
        """The hint for each session that is offered it, with certainty."""
        # The last entry stands for "no candidate".
        is_mine = np.array([*(one == self.hint_id for one in offer.hint_ids), False])
        scores = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 1:] = is_mine[offer.candidates]
        return choose_best(offer, scores)

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
        return FixedHintSettings(hint_id=self.hint_id), {}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        settings = stored.described_as(FixedHintSettings)
        stored.refuse_other_tensors()
        return cls(settings.hint_id)


class _RandomDescription(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int


class RandomHintPolicy(PolicyOnDisk):
    """Gives each session one of the hints it is offered, all equally likely.

    No hint is not among what is drawn: it is chosen only where no hint is on offer. The draw is a
    pure function of the seed, the session's state and the set of hints that this session is
    offered, so it does not depend on the batch, on the order of the hints or on earlier calls;
    equal states get equal hints. All hints have one score, since none is thought better.

    Args:
        seed: Another seed, another draw.
    """

    kind: ClassVar[str] = "random"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def choose(self, offer: HintOffer) -> HintChoices:
        """A random hint for each session."""
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

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
        return _RandomDescription(seed=self.seed), {}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        description = stored.described_as(_RandomDescription)
        stored.refuse_other_tensors()
        return cls(description.seed)


def _column_of_rank(offer: HintOffer, ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each session's candidate with the ``ranks``-th smallest id stands, ``[batch]``."""
    if not offer.width:
        return np.zeros(len(offer), dtype=np.int64)
    hint_ids = offer.hint_ids
    # The last entry stands for "no candidate", which comes behind all.
    place_of_id = np.full(len(hint_ids) + 1, len(hint_ids))
    place_of_id[sorted(range(len(hint_ids)), key=hint_ids.__getitem__)] = np.arange(len(hint_ids))
    order = np.argsort(place_of_id[offer.candidates], axis=1)
    columns: npt.NDArray[np.int64] = order[np.arange(len(offer)), ranks]
    return columns


_BELOW_ANY_COSINE = -2.0


class NearestHintSettings(BaseModel):
    """How near is near enough.

    Attributes:
        min_similarity: A session gets a hint only if its cosine is above this, -1 to 1; ``None``
            for a hint always. Larger: fewer hints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_similarity: float | None = Field(default=None, ge=-1, le=1)


class NearestHintPolicy(PolicyOnDisk):
    """Gives each session the most similar of the hints it is offered; it learns nothing.

    Of equally similar hints the one with the smallest id. Scores are the cosines, and that of no
    hint is ``min_similarity``.

    Args:
        min_similarity: A session gets a hint only if its cosine is above this, -1 to 1; ``None``
            for a hint always, if one is offered.

    Raises:
        ValueError: If ``min_similarity`` is out of range.
    """

    kind: ClassVar[str] = "nearest"

    def __init__(self, min_similarity: float | None = None) -> None:
        # Pydantic's own error is a ValueError.
        self.settings = NearestHintSettings(min_similarity=min_similarity)

    def choose(self, offer: HintOffer) -> HintChoices:
        """The nearest hint for each session, with certainty."""
        least = self.settings.min_similarity
        scores = np.empty((len(offer), 1 + offer.width), dtype=np.float32)
        scores[:, 0] = _BELOW_ANY_COSINE if least is None else least
        scores[:, 1:] = offer.similarities
        return choose_best(offer, scores)

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
        return self.settings, {}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        settings = stored.described_as(NearestHintSettings)
        stored.refuse_other_tensors()
        return cls(settings.min_similarity)


class _Untrained:
    """Makes a policy of a seed alone.

    Args:
        make: From the seed of ``fit`` to the policy.
    """

    def __init__(self, make: Callable[[int], HintPolicy]) -> None:
        self._make = make

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> HintPolicy:
        """Make the policy; the sessions are checked, as by any trainer, and not looked at."""
        check_training(train, valid)
        if on_progress is not None:
            on_progress(1, 1)
        return self._make(seed)


class NoHintTrainer(_Untrained):
    """Gives a ``NoHintPolicy``."""

    def __init__(self, settings: NoSettings | None = None) -> None:
        super().__init__(lambda seed: NoHintPolicy())


class FixedHintTrainer(_Untrained):
    """Gives a ``FixedHintPolicy`` of the hint in the settings."""

    def __init__(self, settings: FixedHintSettings) -> None:
        super().__init__(lambda seed: FixedHintPolicy(settings.hint_id))


class RandomHintTrainer(_Untrained):
    """Gives a ``RandomHintPolicy`` with the seed that ``fit`` is given."""

    def __init__(self, settings: NoSettings | None = None) -> None:
        super().__init__(RandomHintPolicy)


class NearestHintTrainer(_Untrained):
    """Gives a ``NearestHintPolicy`` as near as the settings ask for."""

    def __init__(self, settings: NearestHintSettings | None = None) -> None:
        least = None if settings is None else settings.min_similarity
        super().__init__(lambda seed: NearestHintPolicy(least))
