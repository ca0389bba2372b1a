"""The policy of plain retrieval: the hint whose text is nearest to the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, choose_best
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy

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
