"""The directions of hints in one matrix, searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.hints import STATES, Hint, HintState, ScoredHint
from agentrec.stores.cosine import SIMILARITY_DECIMALS, nearest_first

_FIRST_CAPACITY = 64

# Similarities that are worked out at a time: 32 MB of them.
_AT_A_TIME = 4_000_000

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

    def __contains__(self, hint_id: object) -> bool:
        return hint_id in self._rows

    def add(self, hint: Hint, direction: _Directions) -> None:
        """Take in a hint that is not there yet.

        Args:
            hint: The hint.
            direction: Its vector of length 1, ``[dimension]``.
        """
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
        for hint in hints:
            self._states[self._rows[hint.hint_id]] = STATES.index(hint.state)

    def in_states(self, states: Sequence[HintState]) -> Searched:
        """The hints that are in some states now, whatever happens to them later."""
        stored = len(self._ids)
        asked = np.zeros(len(STATES), dtype=bool)
        asked[[STATES.index(state) for state in states]] = True
        return Searched(np.flatnonzero(asked[self._states[:stored]]), self._matrix[:stored], self)

    def hint_ids(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of the hints in some rows."""
        return [self._ids[row] for row in rows.tolist()]


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

    @property
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
        # A hint that many queries find has one tuple: it is a hundred times as large as the rest.
        vectors: dict[int, tuple[float, ...]] = {}
        lists = []
        for similarities in self._similarities(queries):
            found = []
            for similarity, (row, hint_id) in nearest_first(
                self._reached(similarities, limit), limit
            ):
                if row not in vectors:
                    vectors[row] = tuple(self.matrix[row].tolist())
                found.append(
                    ScoredHint(hint=hint_of(hint_id), similarity=similarity, vector=vectors[row])
                )
            lists.append(found)
        return lists

    def _similarities(self, queries: _Directions) -> Iterator[npt.NDArray[np.float64]]:
        """Similarities of each query to the hints, ``[num_rows]`` each."""
        # Gathering rows costs more than multiplying with some that are not asked for.
        few = 2 * len(self.rows) < len(self.matrix)
        among = self.matrix[self.rows] if few else self.matrix
        every = len(self.rows) == len(among)
        chunk = max(1, _AT_A_TIME // len(among))
        for start in range(0, len(queries), chunk):
            block = queries[start : start + chunk] @ among.T
            for similarities in block:
                yield similarities if every else similarities[self.rows]

    def _reached(
        self, similarities: npt.NDArray[np.float64], limit: int
    ) -> Iterator[tuple[float, str, tuple[int, str]]]:
        """What may be among the nearest: only that is worth ordering in Python."""
        count = min(limit, len(similarities))
        last_place = np.partition(similarities, -count)[-count]
        # What is as similar as the last one once both are rounded is less than this far from it.
        reached = np.flatnonzero(similarities >= last_place - 10.0**-SIMILARITY_DECIMALS)
        rows = self.rows[reached]
        for row, hint_id, similarity in zip(
            rows.tolist(),
            self.directions.hint_ids(rows),
            similarities[reached].tolist(),
            strict=True,
        ):
            yield similarity, hint_id, (row, hint_id)
