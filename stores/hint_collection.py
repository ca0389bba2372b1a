"""Hints in one collection of a Qdrant, with blocking calls, for one thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_client import models

from agentrec.hints import Hint, HintEmbedding, HintState, ScoredHint
from agentrec.stores.batched_writes import write_points
from agentrec.stores.collection_access import (
    dimension_of,
    make_if_missing,
    misfit,
    payloads,
    physical_name,
)
from agentrec.stores.cosine import unit_vector
from agentrec.stores.hint_directions import HintDirections
from agentrec.stores.hint_history import Change, HintHistory
from agentrec.stores.hint_points import number_of, payload_of, point_id, versions_of
from agentrec.stores.qdrant_connection import QdrantConnection
from agentrec.stores.server_search import ServerSearch
from agentrec.stores.writers_turn import Head, writers_turn

_PAGE = 1_000

_Directions = npt.NDArray[np.float64]


class HintCollection:
    """One open Qdrant collection of hints.

    Every method blocks, and all of them belong on the connection's thread. A point's id is made
    from the hint's id; its payload holds the hint with all its versions and its number in the
    order of adding. What is stored is also kept in memory, vectors from the first search on. Where
    others may write, what they wrote is read before every answer, and the server searches.

    Args:
        connection: The connection.
        name: The collection's name, as the user knows it.
        shared: Whether other processes may write to it.

    Raises:
        StoreError: If it holds anything but hints.
    """

    def __init__(self, connection: QdrantConnection, name: str, *, shared: bool) -> None:
        self._connection = connection
        self._shared = shared
        self._name = physical_name(connection.client, name)
        self.dimension = dimension_of(connection, self._name)
        self.embedding_model = ""
        self._history = HintHistory()
        self._numbers: dict[str, int] = {}
        self._server = ServerSearch(connection, self._name)
        self._directions = HintDirections(self.dimension)
        # Hints whose vector or state a search has yet to take in, in the order of writing.
        self._unread: dict[str, None] = {}
        self._head = Head.read(connection.client, self._name)
        self._read_hints(None)

    @classmethod
    def open(
        cls,
        connection: QdrantConnection,
        name: str,
        dimension: int,
        embedding_model: str = "",
        *,
        shared: bool = False,
    ) -> HintCollection:
        """Open a collection, making it if it is not there; one that is open already is shared.

        Args:
            connection: The connection.
            name: The collection's name.
            dimension: Length of every vector.
            embedding_model: What vectors are made with; empty if unknown.
            shared: Whether other processes may write to it.

        Raises:
            StoreError: If it cannot be read, or holds other vectors.
        """
        make_if_missing(connection, name, dimension)
        opened = cls.open_existing(connection, name, shared=shared)
        opened._check_fits(dimension, embedding_model)
        opened.embedding_model = opened.embedding_model or embedding_model
        return opened

    @classmethod
    def open_existing(
        cls, connection: QdrantConnection, name: str, *, shared: bool = False
    ) -> HintCollection:
        """Open a collection that is there, whatever its vectors were made with.

        Raises:
            StoreError: If it cannot be read.
        """
        opened = connection.opened.get(name)
        if not isinstance(opened, HintCollection):
            opened = connection.opened[name] = cls(connection, name, shared=shared)
        return opened

    def add_many(
        self,
        hints: Sequence[Hint],
        directions: _Directions,
        note: str,
        embedding: HintEmbedding | None,
    ) -> list[bool]:
        """Store hints whose ids are not stored yet, in one revision; for each whether it was new.

        In a folder they are on disk, all of them, when this returns.
        """
        with self._writing():
            answers, change = self._history.adding(hints, note, embedding)
            if change is not None:
                self._write(change, directions[answers].tolist())
            return answers

    def change(self, hints: Sequence[Hint], note: str) -> int:
        """Put hints in the place of stored ones, in one revision; its number."""
        with self._writing():
            return self._rewrite(self._history.changing(hints, note))

    def roll_back(self, revision: int) -> int:
        """Bring a revision back, which is a revision; its number."""
        with self._writing():
            return self._rewrite(self._history.rolling_back(revision))

    def history(self) -> HintHistory:
        """Everything that is stored; to be read on the connection's thread only."""
        if self._shared:
            self._read_news()
        return self._history

    def search(
        self, direction: _Directions, limit: int, states: Sequence[HintState]
    ) -> list[ScoredHint]:
        """The nearest hints, most similar first, equal similarities in order of id."""
        if self._shared and states:
            return self._server.search(direction, limit, states)
        return self.search_many(direction[None], limit, states)[0]

    def search_many(
        self, directions: _Directions, limit: int, states: Sequence[HintState]
    ) -> list[list[ScoredHint]]:
        """What ``search`` finds for each of ``[num_queries, dimension]`` directions."""
        if not states:
            return [[] for _ in directions]
        if self._shared:
            return self._server.search_many(directions, limit, states)
        among = self._known_directions().in_states(states)
        return among.search(directions, limit, self._history.__getitem__)

    def points_embedded_anew(
        self, embedding: HintEmbedding, vectors: Sequence[list[float]]
    ) -> list[models.PointStruct]:
        """What another collection has to hold to be this one with other vectors.

        Args:
            embedding: What the vectors were made with.
            vectors: One for each hint, in the order of adding.
        """
        change = self._history.embedding_anew(embedding)
        points, _ = self._points(change, vectors)
        empty = [*self._head.empty, *([] if change.hints else [change])]
        if not empty:
            return points
        return [*points, Head(change.number, empty=empty).point(embedding.dimension)]

    def _known_directions(self) -> HintDirections:
        """The vectors of all hints, where nobody else writes.

        The embedded mode compares one query at a time with every point, in Python where states
        are asked for. Reading its vectors once makes a search several times as fast, and many at
        once a hundred times.
        """
        if self._unread:
            hints = [self._history[hint_id] for hint_id in self._unread]
            new = [hint for hint in hints if hint.hint_id not in self._directions]
            vectors = self._vectors([point_id(hint.hint_id) for hint in new])
            for hint, vector in zip(new, vectors, strict=True):
                # A folder gives vectors back as they were written, whatever their length.
                self._directions.add(hint, unit_vector(vector, self.dimension))
            self._directions.settle(hints)
            self._unread.clear()
        return self._directions

    def _vectors(self, point_ids: Sequence[str]) -> list[Any]:
        vectors: dict[str, Any] = {}
        for start in range(0, len(point_ids), _PAGE):
            records = self._connection.client.retrieve(
                self._name, point_ids[start : start + _PAGE], with_payload=False, with_vectors=True
            )
            vectors.update({str(record.id): record.vector for record in records})
        return [vectors[each] for each in point_ids]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within, nobody else writes, and all that was written is known."""
        if not self._shared:
            yield
            return
        with writers_turn(self._connection.client, self._name, self.dimension) as head:
            # Even where nothing was finished: another writer may have stopped half-way.
            self._read_hints(self._head.revision)
            self._head = head
            self._remember_empty()
            head.revision = max(head.revision, self._history.latest)
            yield

    def _rewrite(self, change: Change) -> int:
        self._write(change, self._vectors([point_id(hint.hint_id) for hint in change.hints]))
        return change.number

    def _write(self, change: Change, vectors: Sequence[Any]) -> None:
        points, numbers = self._points(change, vectors)
        head = replace(self._head, revision=change.number)
        if not change.hints:
            # Nothing else would tell of this revision.
            head.empty = [*head.empty, change]
            points.append(head.point(self.dimension))
        # If this fails, what an embedded client keeps in memory of it is no hint known here.
        write_points(self._connection.client, self._name, points)
        self._head.revision, self._head.empty = head.revision, head.empty
        self._history.record(change)
        self._numbers.update(numbers)
        self._unread.update(dict.fromkeys(numbers))

    def _points(
        self, change: Change, vectors: Sequence[Any]
    ) -> tuple[list[models.PointStruct], dict[str, int]]:
        """The points of a change, and each hint's number in the order of adding."""
        following = 1 + max(self._numbers.values(), default=-1)
        numbers: dict[str, int] = {}
        points: list[models.PointStruct] = []
        for hint, vector in zip(change.hints, vectors, strict=True):
            hint_id = hint.hint_id
            numbers[hint_id] = self._numbers.get(hint_id, following + len(points))
            versions = [*self._history.versions(hint_id), change.version(hint)]
            payload = payload_of(versions, numbers[hint_id])
            points.append(models.PointStruct(id=point_id(hint_id), vector=vector, payload=payload))
        return points, numbers

    def _read_news(self) -> None:
        """Read what others wrote since the last time."""
        head, seen = Head.read(self._connection.client, self._name), self._head.revision
        if head.revision != seen or head.writer:
            self._read_hints(seen)
            self._head = head
            self._remember_empty()

    def _read_hints(self, after: int | None) -> None:
        """Read the hints that changed after a revision, or all."""
        address = self._connection.address
        found = [
            (number_of(payload, address), versions_of(payload, address))
            for payload in payloads(self._connection.client, self._name, after)
        ]
        for number, versions in sorted(found, key=lambda each: each[0]):
            hint = versions[-1].hint
            self._history.remember_hint(versions)
            self._numbers[hint.hint_id] = number
            self._unread[hint.hint_id] = None
            if hint.embedding is not None:
                self.embedding_model = hint.embedding.model
        self._remember_empty()

    def _remember_empty(self) -> None:
        for change in self._head.empty:
            self._history.record(change)

    def _check_fits(self, dimension: int, embedding_model: str) -> None:
        known, asked = self.embedding_model, embedding_model
        if dimension != self.dimension or (known and asked and known != asked):
            raise misfit(self._connection.address, known, self.dimension, asked, dimension)
