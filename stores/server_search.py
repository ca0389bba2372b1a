"""Searching a collection of a Qdrant that others may write to: the server does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_client import models

from agentrec.hints import Hint, HintState, ScoredHint
from agentrec.stores.cosine import SIMILARITY_DECIMALS, nearest_first, rounded_similarity
from agentrec.stores.hint_points import hint_of
from agentrec.stores.qdrant_connection import QdrantConnection

_QUERIES_A_REQUEST = 128

_Directions = npt.NDArray[np.float64]


class ServerSearch:
    """Exact searches by a server, each of which sees what anybody has written.

    Args:
        connection: The connection; every method belongs on its thread.
        name: The collection's name in Qdrant.
    """

    def __init__(self, connection: QdrantConnection, name: str) -> None:
        self._connection = connection
        self._name = name
        # The embedded mode, on which tests run this, knows no such thing and is exact anyway.
        self._exact = models.SearchParams(exact=True) if connection.remote else None

    def search(
        self, direction: _Directions, limit: int, states: Sequence[HintState]
    ) -> list[ScoredHint]:
        """The nearest hints, most similar first, equal similarities in order of id."""
        # One more than asked for shows whether a tie crosses the end of the list.
        points = self._nearest(direction, limit + 1, states, None)
        if _tied_at(points, limit):
            count = self._connection.client.count(self._name).count
            above = rounded_similarity(points[limit].score) - 10**-SIMILARITY_DECIMALS
            points = self._nearest(direction, count, states, above)
        address = self._connection.address
        hints = [hint_of(point.payload, address) for point in points]
        found = [
            (point.score, hint.hint_id, (hint, point.vector))
            for hint, point in zip(hints, points, strict=True)
        ]
        return [
            ScoredHint(hint=hint, similarity=similarity, vector=_as_tuple(vector))
            for similarity, (hint, vector) in nearest_first(found, limit)
        ]

    def search_many(
        self, directions: _Directions, limit: int, states: Sequence[HintState]
    ) -> list[list[ScoredHint]]:
        """What ``search`` finds for each direction.

        A hint that many find is sent once: hints and vectors are asked for when it is known which.
        """
        responses: list[list[models.ScoredPoint]] = []
        for start in range(0, len(directions), _QUERIES_A_REQUEST):
            block = directions[start : start + _QUERIES_A_REQUEST]
            requests = [
                models.QueryRequest(
                    query=direction.tolist(),
                    limit=limit + 1,
                    filter=_in(states),
                    params=self._exact,
                    with_payload=False,
                    with_vector=False,
                )
                for direction in block
            ]
            answers = self._connection.client.query_batch_points(self._name, requests)
            responses.extend(answer.points for answer in answers)
        hints = self._hints({str(point.id) for points in responses for point in points})
        lists = []
        for direction, points in zip(directions, responses, strict=True):
            known = [(point.score, *hints[str(point.id)]) for point in points]
            # What left the states since, or ties beyond the end: looked at by itself.
            if _tied_at(points, limit) or any(hint.state not in states for _, hint, _ in known):
                lists.append(self.search(direction, limit, states))
                continue
            found = [(score, hint.hint_id, (hint, vector)) for score, hint, vector in known]
            lists.append(
                [
                    ScoredHint(hint=hint, similarity=similarity, vector=vector)
                    for similarity, (hint, vector) in nearest_first(found, limit)
                ]
            )
        return lists

    def _nearest(
        self,
        direction: _Directions,
        limit: int,
        states: Sequence[HintState],
        above: float | None,
    ) -> list[models.ScoredPoint]:
        return self._connection.client.query_points(
            self._name,
            query=direction.tolist(),
            limit=limit,
            score_threshold=above,
            query_filter=_in(states),
            with_payload=["hint"],
            with_vectors=True,
            search_params=self._exact,
        ).points

    def _hints(self, point_ids: set[str]) -> dict[str, tuple[Hint, tuple[float, ...]]]:
        """Hints and vectors by the ids of their points."""
        records = self._connection.client.retrieve(
            self._name, sorted(point_ids), with_payload=["hint"], with_vectors=True
        )
        address = self._connection.address
        return {
            str(each.id): (hint_of(each.payload, address), _as_tuple(each.vector))
            for each in records
        }


def _in(states: Sequence[HintState]) -> models.Filter:
    condition = models.FieldCondition(key="state", match=models.MatchAny(any=list(states)))
    return models.Filter(must=[condition])


def _tied_at(points: Sequence[models.ScoredPoint], limit: int) -> bool:
    """Whether the last hint to be returned is as similar as the one after it."""
    if len(points) <= limit:
        return False
    return rounded_similarity(points[limit - 1].score) == rounded_similarity(points[limit].score)


def _as_tuple(vector: Any) -> tuple[float, ...]:
    return tuple(vector)
