"""The directions of hints in one matrix, searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from agentrec.hints import STATES, Hint, HintState, ScoredHint
from agentrec.stores.cosine import SIMILARITY_DECIMALS, nearest_first, rounded_similarities

_FIRST_CAPACITY = 64

# Similarities that are worked out at a time: 32 MB of them.
_AT_A_TIME = 4_000_000

# Hints of which only the most similar is looked at first.
_GROUP = 16

# Hints up to which one query's are ordered one by one: a dozen steps over arrays cost more.
_FEW = 128

# A vector of 384 numbers takes 12 kB as a tuple, and making it longer than a small search.
_VECTORS_KEPT = 1024

_Directions = npt.NDArray[np.float64]


class HintDirections:
    """Unit vectors and states of hints, in the order of adding.

    Args:
        dimension: Length of every vector, at least 1.
    """

    def __init__(self, dimension: int) -> None:
        self._matrix = np.empty((_FIRST_CAPACITY, dimension), dtype=np.float64)
        self._states = np.empty(_FIRST_CAPACITY, dtype=np.int8)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._vectors: dict[int, tuple[float, ...]] = {}
        self._in_states: dict[tuple[HintState, ...], Searched] = {}

    def __contains__(self, hint_id: object) -> bool:
        return hint_id in self._rows

    def add(self, hint: Hint, direction: _Directions) -> None:
        """Take in a hint that is not there yet.

        Args:
            hint: The hint.
            direction: Its vector of length 1, ``[dimension]``.
        """
        self._in_states.clear()
        row = len(self._ids)
        if row == len(self._matrix):
            # Into new arrays: a search that is under way keeps those it began with.
            self._matrix = np.concatenate([self._matrix, np.empty_like(self._matrix)])
            self._states = np.concatenate([self._states, np.empty_like(self._states)])
        self._matrix[row] = direction
        self._states[row] = STATES.index(hint.state)
        self._ids.append(hint.hint_id)
        self._rows[hint.hint_id] = row

    def settle(self, hints: Iterable[Hint]) -> None:
        """Note the states of hints that are there."""
        self._in_states.clear()
        for hint in hints:
            self._states[self._rows[hint.hint_id]] = STATES.index(hint.state)

    def in_states(self, states: Sequence[HintState]) -> Searched:
        """The hints that are in some states now, whatever happens to them later."""
        among = self._in_states.get(tuple(states))
        if among is None:
            stored = len(self._ids)
            asked = np.zeros(len(STATES), dtype=bool)
            asked[[STATES.index(state) for state in states]] = True
            rows = np.flatnonzero(asked[self._states[:stored]])
            among = Searched(rows, self._matrix[:stored], self)
            self._in_states[tuple(states)] = among
        return among

    def hint_ids(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of the hints in some rows."""
        return [self._ids[row] for row in rows.tolist()]

    def vector(self, row: int) -> tuple[float, ...]:
        """The direction in a row; of the hints found most often the same object each time."""
        vector = self._vectors.get(row)
        if vector is None:
            if len(self._vectors) >= _VECTORS_KEPT:
                self._vectors.clear()
            # A direction never changes once it is there.
            vector = self._vectors[row] = tuple(self._matrix[row].tolist())
        return vector


@dataclass(frozen=True, eq=False)
class Searched:
    """Hints among which to search; another thread may do it.

    Attributes:
        rows: Their rows.
        matrix: The directions of all hints, ``[num_stored, dimension]``.
        directions: Where they come from.
    """

    rows: npt.NDArray[np.int64]
    matrix: _Directions
    directions: HintDirections

    @cached_property
    def hint_ids(self) -> list[str]:
        """Their ids."""
        return self.directions.hint_ids(self.rows)

    def search(
        self, queries: _Directions, limit: int, hint_of: Callable[[str], Hint]
    ) -> list[list[ScoredHint]]:
        """Find the nearest hints of every query.

        Args:
            queries: Vectors of length 1, ``[num_queries, dimension]``.
            limit: How many hints a query at most, at least 1.
            hint_of: The hint of an id.

        Returns:
            One list a query: most similar first, equal similarities in order of id.
        """
        if not len(self.rows):
            return [[] for _ in queries]
        if len(queries) == 1 and len(self.rows) <= _FEW:
            return [self._search_few(queries, limit, hint_of)]
        # A hint that many queries find has one tuple: it is a hundred times as large as the rest.
        known: dict[int, tuple[Hint, tuple[float, ...]]] = {}
        lists = []
        for block in self._similarities(queries):
            rows, similarities = self._nearest(block, limit)
            distinct = np.unique(rows)
            for row, hint_id in zip(
                distinct.tolist(), self.directions.hint_ids(distinct), strict=True
            ):
                if row not in known:
                    known[row] = hint_of(hint_id), self.directions.vector(row)
            for found in zip(rows.tolist(), similarities.tolist(), strict=True):
                lists.append(
                    [
                        ScoredHint(hint=known[row][0], similarity=similarity, vector=known[row][1])
                        for row, similarity in zip(*found, strict=True)
                    ]
                )
        return lists

    def _search_few(
        self, query: _Directions, limit: int, hint_of: Callable[[str], Hint]
    ) -> list[ScoredHint]:
        similarities = next(self._similarities(query))[0].tolist()
        pairs = zip(self.hint_ids, self.rows.tolist(), strict=True)
        found = zip(similarities, self.hint_ids, pairs, strict=True)
        return [
            ScoredHint(
                hint=hint_of(hint_id), similarity=similarity, vector=self.directions.vector(row)
            )
            for similarity, (hint_id, row) in nearest_first(found, limit)
        ]

    def _similarities(self, queries: _Directions) -> Iterator[npt.NDArray[np.float64]]:
        """Similarities of some queries at a time to the hints, ``[num_some, num_rows]``."""
        # Gathering rows costs more than multiplying with some that are not asked for.
        few = 2 * len(self.rows) < len(self.matrix)
        among = self.matrix[self.rows] if few else self.matrix
        every = len(self.rows) == len(among)
        chunk = max(1, _AT_A_TIME // len(among))
        for start in range(0, len(queries), chunk):
            block = queries[start : start + chunk] @ among.T
            yield block if every else block[:, self.rows]

    def _nearest(
        self, similarities: npt.NDArray[np.float64], limit: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Rows and rounded similarities of the nearest hints, in order.

        Args:
            similarities: Of each query to the hints, ``[num_queries, num_rows]``.
            limit: How many hints a query at most.

        Returns:
            Both ``[num_queries, count]``; every query finds as many.
        """
        queries, stored = similarities.shape
        count = min(limit, stored)
        # What is as similar as the last one once both are rounded is less than this far from it:
        # only that is worth ordering.
        least = _reached_by(similarities, count)[:, None] - 10.0**-SIMILARITY_DECIMALS
        reached = np.flatnonzero(similarities >= least)
        query, place = np.divmod(reached, stored)
        rounded = rounded_similarities(similarities.reshape(-1)[reached])
        order = np.lexsort((self._ranks_by_id(place), -rounded, query))
        firsts = np.searchsorted(query, np.arange(queries))
        kept = order[firsts[:, None] + np.arange(count)]
        return self.rows[place[kept]], rounded[kept]

    def _ranks_by_id(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For places in ``rows``, numbers that are ordered as the hints' ids are."""
        distinct, which = np.unique(places, return_inverse=True)
        ids = np.array(self.directions.hint_ids(self.rows[distinct]))
        ranks: npt.NDArray[np.int64] = np.argsort(np.argsort(ids))[which]
        return ranks


def _reached_by(similarities: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """A bound a query, ``[num_queries]``, that ``count`` of its similarities reach, or few more.

    The best of each group are some of them all, so that at least as many of all reach what
    ``count`` of those do; partitioning those alone is several times as quick.
    """
    groups = similarities.shape[1] // _GROUP
    best = similarities
    if groups >= _GROUP * count // 2:
        best = similarities[:, :groups].copy()
        for start in range(groups, _GROUP * groups, groups):
            np.maximum(best, similarities[:, start : start + groups], out=best)
    bound: npt.NDArray[np.float64] = np.partition(best, -count, axis=1)[:, -count]
    return bound
