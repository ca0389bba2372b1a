"""The histories of a batch of sessions, summed up over items: means, spreads, last items.

What is computed of a session is the same to the last bit whatever other sessions are in its batch:
every sum runs over the ten places of one history, with weight 0 where a history is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from agentrec.llm.prompts.session_view import HISTORY_LENGTH

Floats = npt.NDArray[np.float32]


class Histories:
    """The last items of some sessions.

    Args:
        places: Places of a session's items in the catalogue, oldest first, up to
            ``HISTORY_LENGTH`` of each.
        recency: Factor between the weights of an item and the one after it, above 0 to 1.
    """

    def __init__(self, places: Sequence[Sequence[int]], recency: float) -> None:
        batch = len(places)
        # Short histories have their gap in front: the last column is the last item of all.
        self._places = np.zeros((batch, HISTORY_LENGTH), dtype=np.int64)
        self._weights = np.zeros((batch, HISTORY_LENGTH), dtype=np.float32)
        self.lengths = np.array([len(own) for own in places], dtype=np.int64)
        for row, own in enumerate(places):
            self._places[row, -len(own) :] = own
            self._weights[row, -len(own) :] = _recency_weights(len(own), recency)

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self._places)

    def mean(self, table: Floats) -> Floats:
        """Recency-weighted mean of the items' rows of a table, ``[batch, width]``."""
        return self._weighted(table, self._weights)

    def spread(self, table: Floats) -> Floats:
        """Standard deviation over the items, each counting alike, ``[batch, width]``."""
        if not table.shape[1]:
            return np.zeros((len(self), 0), dtype=np.float32)
        shares = self._shares(HISTORY_LENGTH)
        apart = table[self._places] - self._weighted(table, shares)[:, None]
        spread: Floats = np.sqrt(_sums(apart * apart, shares))
        return spread

    def latest_mean(self, table: Floats, count: int) -> Floats:
        """Plain mean over the last items, up to so many, ``[batch, width]``."""
        return self._weighted(table, self._shares(count))

    def _shares(self, count: int) -> Floats:
        """Equal weights of the last items, up to ``count``, that sum to 1."""
        counted = np.minimum(self.lengths, count)[:, None]
        from_the_end = np.arange(HISTORY_LENGTH, 0, -1)
        return np.where(from_the_end <= counted, 1 / counted, 0).astype(np.float32)

    def _weighted(self, table: Floats, weights: Floats) -> Floats:
        if not table.shape[1]:
            # As of catalogues without numbers; summing up nothing takes as long as summing up.
            return np.zeros((len(self), 0), dtype=np.float32)
        return _sums(table[self._places], weights)


def _sums(rows: Floats, weights: Floats) -> Floats:
    """Weighted sums of ``[batch, HISTORY_LENGTH, width]`` over the places, ``[batch, width]``."""
    summed: Floats = (rows * weights[:, :, None]).sum(axis=1)
    return summed


@lru_cache
def _recency_weights(length: int, recency: float) -> Floats:
    weights = np.power(np.float32(recency), np.arange(length)[::-1].astype(np.float32))
    weights = np.asarray(weights / weights.sum(), dtype=np.float32)
    # Kept for all sessions of that length, so nobody may write into it.
    weights.setflags(write=False)
    return weights
