"""Indexes over the vectors of hints. An index can be rebuilt from the log at any time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from agentrec.hints import STATES, Hint, HintState
from agentrec.stores.hints.cosine import (
    SIMILARITY_DECIMALS,
    nearest_first,
    rounded_similarities,
    unit_vector,
)

Direction = npt.NDArray[np.float64]
Found = tuple[float, str, tuple[float, ...]]
"""Rounded cosine, hint id, and the stored vector of length 1."""

_BATCH = 256
_AT_A_TIME = 4_000_000
_RESERVE = 8


class VectorIndex(Protocol):
    """Holds the vector and the state of each hint, and finds the nearest. Methods may block."""

    def put(self, hints: Sequence[Hint], directions: Mapping[str, Direction]) -> None:
        """Take in new hints, and the states of changed ones.

        Args:
            hints: New or changed hints, each id once.
            directions: Vectors of length 1 of the new hints, ``[dimension]``, by hint id.
        """
        ...

    def search(
        self, queries: Direction, limit: int, states: Sequence[HintState]
    ) -> list[list[Found]]:
        """Find the nearest hints of each query, ``[num_queries, dimension]``, in order."""
        ...


class ExactIndex:
    """One matrix of all vectors, multiplied with every query."""

    def __init__(self) -> None:
        self._directions: dict[str, Direction] = {}
        self._states: dict[str, HintState] = {}
        self._vectors: dict[str, tuple[float, ...]] = {}
        self._selected: dict[tuple[HintState, ...], tuple[list[str], Direction]] = {}

    def put(self, hints: Sequence[Hint], directions: Mapping[str, Direction]) -> None:
        """See ``VectorIndex.put``."""
        self._selected.clear()
        for hint in hints:
            self._states[hint.hint_id] = hint.state
        self._directions.update(directions)
        for hint_id in directions:
            self._vectors.pop(hint_id, None)

    def search(
        self, queries: Direction, limit: int, states: Sequence[HintState]
    ) -> list[list[Found]]:
        """See ``VectorIndex.search``."""
        ids, matrix = self._among(tuple(states))
        if not ids:
            return [[] for _ in queries]
        results: list[list[Found]] = []
        chunk = max(1, _AT_A_TIME // len(ids))
        for start in range(0, len(queries), chunk):
            similarities = rounded_similarities(queries[start : start + chunk] @ matrix.T)
            # Rows are in order of id and the sort is stable, so ids break ties.
            nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :limit]
            for row, columns in zip(similarities, nearest.tolist(), strict=True):
                results.append(
                    [(float(row[each]), ids[each], self._vector(ids[each])) for each in columns]
                )
        return results

    def _among(self, states: tuple[HintState, ...]) -> tuple[list[str], Direction]:
        if states not in self._selected:
            ids = sorted(hint_id for hint_id, state in self._states.items() if state in states)
            matrix = np.array([self._directions[hint_id] for hint_id in ids], dtype=np.float64)
            self._selected[states] = ids, matrix
        return self._selected[states]

    def _vector(self, hint_id: str) -> tuple[float, ...]:
        # Converting 384 numbers takes longer than a small search.
        if hint_id not in self._vectors:
            self._vectors[hint_id] = tuple(self._directions[hint_id].tolist())
        return self._vectors[hint_id]


class QdrantIndex:
    """Qdrant finds the nearest hints; their exact cosines order them.

    Each state has a collection of its own, because a filter costs Qdrant's local mode more than
    the search itself. A point carries the whole hint.

    Args:
        client: A client of a server, or of Qdrant's local mode in memory.
        name: Prefix of the collections' names.
        dimension: Length of the vectors, at least 1.
        shared: Whether others may write to it. If not, vectors are also kept here in double
            precision, and results are those of ``ExactIndex``; Qdrant keeps single precision.
    """

    def __init__(self, client: QdrantClient, name: str, dimension: int, *, shared: bool) -> None:
        self._client = client
        self._dimension = dimension
        self._collections = {state: f"{name}-{state}" for state in STATES}
        self._own: dict[str, _Point] | None = None if shared else {}
        self._vectors: dict[str, tuple[float, ...]] = {}
        for collection in self._collections.values():
            if not client.collection_exists(collection):
                params = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
                client.create_collection(collection, vectors_config=params)

    def put(self, hints: Sequence[Hint], directions: Mapping[str, Direction]) -> None:
        """See ``VectorIndex.put``. Points that are as new already stay as they are."""
        stored = self._points(hints)
        due: list[tuple[Hint, Direction]] = []
        for hint in hints:
            known = stored.get(hint.hint_id, [])
            if not any(each.version >= hint.version for each in known):
                direction = directions.get(hint.hint_id)
                due.append((hint, known[0].direction if direction is None else direction))
        for state, collection in self._collections.items():
            points = [
                models.PointStruct(
                    id=_point_id(hint.hint_id),
                    vector=direction.tolist(),
                    payload={
                        "hint_id": hint.hint_id,
                        "version": hint.version,
                        # As ASCII text: a model may cut its answer in the middle of a character.
                        "hint": json.dumps(hint.model_dump()),
                    },
                )
                for hint, direction in due
                if hint.state == state
            ]
            for start in range(0, len(points), _BATCH):
                self._client.upsert(collection, points[start : start + _BATCH], wait=True)
        # Only now: a search in between finds a hint twice, but never misses it.
        for state, collection in self._collections.items():
            left = [
                _point_id(hint.hint_id)
                for hint in hints
                for each in stored.get(hint.hint_id, [])
                if each.state == state != hint.state and each.version < hint.version
            ]
            for ids in _batches(left):
                self._client.delete(collection, ids, wait=True)
        for hint, direction in due:
            if hint.hint_id in directions:
                self._vectors.pop(hint.hint_id, None)
            if self._own is not None:
                self._own[hint.hint_id] = _Point(hint.state, hint.version, direction)

    def search(
        self, queries: Direction, limit: int, states: Sequence[HintState]
    ) -> list[list[Found]]:
        """See ``VectorIndex.search``."""
        return [self._search(query, limit, states) for query in queries]

    def _search(self, query: Direction, limit: int, states: Sequence[HintState]) -> list[Found]:
        found: dict[str, tuple[float, str, Direction]] = {}
        for state in states:
            for point in self._nearest(self._collections[state], query, limit):
                hint_id = str((point.payload or {})["hint_id"])
                direction = self._direction(hint_id, point.vector)
                found[hint_id] = float(query @ direction), hint_id, direction
        return [
            (similarity, hint_id, self._tuple(hint_id, direction))
            for similarity, (hint_id, direction) in nearest_first(
                ((cosine, hint_id, (hint_id, each)) for cosine, hint_id, each in found.values()),
                limit,
            )
        ]

    def _nearest(self, collection: str, query: Direction, limit: int) -> list[models.ScoredPoint]:
        """The nearest points, with all that may tie with the last of them once rounded."""
        count = limit + _RESERVE
        while True:
            points: list[models.ScoredPoint] = self._client.query_points(
                collection,
                query=query.tolist(),
                limit=count,
                with_payload=["hint_id"],
                with_vectors=self._own is None,
                # Local mode is exact anyway, and warns if it is asked to be.
                search_params=models.SearchParams(exact=True) if self._own is None else None,
            ).points
            tied = 3 * 10.0**-SIMILARITY_DECIMALS
            if len(points) < count or points[-1].score < points[limit - 1].score - tied:
                return points
            count *= 4

    def _direction(self, hint_id: str, vector: object) -> Direction:
        if self._own is not None:
            return self._own[hint_id].direction
        if not isinstance(vector, list):
            raise TypeError(f"the server returned no vector for hint {hint_id}")
        return unit_vector(vector, self._dimension)

    def _tuple(self, hint_id: str, direction: Direction) -> tuple[float, ...]:
        if hint_id not in self._vectors:
            self._vectors[hint_id] = tuple(direction.tolist())
        return self._vectors[hint_id]

    def _points(self, hints: Sequence[Hint]) -> dict[str, list[_Point]]:
        """What the index holds of some hints now, by hint id."""
        points: dict[str, list[_Point]] = {}
        if self._own is not None:
            known = ((hint.hint_id, self._own.get(hint.hint_id)) for hint in hints)
            return {hint_id: [point] for hint_id, point in known if point is not None}
        for state, collection in self._collections.items():
            for ids in _batches([_point_id(hint.hint_id) for hint in hints]):
                for record in self._client.retrieve(
                    collection, ids, with_payload=["hint_id", "version"], with_vectors=True
                ):
                    payload = record.payload or {}
                    hint_id = str(payload["hint_id"])
                    direction = self._direction(hint_id, record.vector)
                    point = _Point(state, int(payload["version"]), direction)
                    points.setdefault(hint_id, []).append(point)
        return points


@dataclass(frozen=True)
class _Point:
    state: HintState
    version: int
    direction: Direction


def _batches(ids: Sequence[str]) -> Iterator[list[str | int | uuid.UUID]]:
    for start in range(0, len(ids), _BATCH):
        yield list(ids[start : start + _BATCH])


def _point_id(hint_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, hint_id))
