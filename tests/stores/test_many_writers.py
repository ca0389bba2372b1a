"""A collection that several processes write to: here, several handles on a Qdrant in memory."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from qdrant_client import QdrantClient, models

from agentrec.hints import STATES, Hint
from agentrec.stores import writers_turn
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.qdrant_connection import QdrantConnection, connect_memory, finished
from agentrec.stores.writers_turn import HEAD_ID, Head

HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(600)]


@pytest_asyncio.fixture
async def connection() -> AsyncIterator[QdrantConnection]:
    connection = connect_memory()
    yield connection
    await finished(connection.release())


def writers(connection: QdrantConnection, count: int) -> list[HintCollection]:
    """Handles that know nothing of one another."""
    HintCollection.open(connection, "hints", 2, shared=True)
    return [HintCollection(connection, "hints", shared=True) for _ in range(count)]


def add(writer: HintCollection, *hints: Hint) -> list[bool]:
    return writer.add_many(hints, np.tile([1.0, 0.0], (len(hints), 1)), "added", None)


async def test_everybody_knows_what_anybody_wrote(connection: QdrantConnection) -> None:
    def writing() -> None:
        one, other, reader = writers(connection, 3)
        assert add(one, *HINTS[:3]) == [True] * 3
        assert add(other, *HINTS[2:5]) == [False, True, True]
        assert one.change([HINTS[4]], "changed") == 3
        assert other.change([HINTS[4]], "changed") == 4
        assert one.roll_back(0) == 5
        assert other.roll_back(0) == 6
        assert reader.roll_back(4) == 7
        for each in (one, other, reader):
            assert [hint.text for hint in each.history().all()] == [hint.text for hint in HINTS[:5]]
            assert [len(r.hint_ids) for r in each.history().revisions()] == [3, 2, 1, 1, 5, 0, 5]
            assert each.history()[HINTS[4].hint_id].version == 5
            assert len(each.search(np.array([1.0, 0.0]), 9, ("admitted",))) == 5

    await connection.call(writing)


async def test_a_writer_that_stops_half_way_holds_nobody_up_for_ever(
    connection: QdrantConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    upsert = QdrantClient.upsert
    calls: list[int] = []

    def dies(self: QdrantClient, name: str, points: Any, **options: Any) -> Any:
        calls.append(len(points))
        if len(calls) > 1:
            raise KilledError
        return upsert(self, name, points, **options)

    def writing() -> None:
        (dead, alive, reader) = writers(connection, 3)
        assert add(dead, HINTS[0]) == [True]
        assert reader.history().all() == HINTS[:1]
        with monkeypatch.context() as patched:
            patched.setattr(QdrantClient, "upsert", dies)
            # A killed process does not give its turn back either.
            patched.setattr(QdrantClient, "set_payload", taking_only(connection.client))
            with pytest.raises(KilledError):
                add(dead, *HINTS[:600])
        assert calls == [256, 256]
        assert Head.read(connection.client, "hints").writer
        monkeypatch.setattr(writers_turn, "_LEASE_SECONDS", 0.0)
        monkeypatch.setattr(writers_turn, "_POLL_SECONDS", 0.0)
        # What arrived of it is there for all, even before anybody writes something else.
        assert add(alive, *HINTS[:257]) == [False] * 257
        assert reader.history().all() == HINTS[:257]
        answers = add(alive, *HINTS)
        assert answers == [False] * 257 + [True] * 343
        for each in (alive, reader):
            assert each.history().all() == HINTS
            assert [len(r.hint_ids) for r in each.history().revisions()] == [1, 256, 343]
        assert Head.read(connection.client, "hints").writer == ""

    await connection.call(writing)


def taking_only(client: QdrantClient) -> Any:
    set_payload = QdrantClient.set_payload

    def taking(self: QdrantClient, name: str, payload: Any, points: Any) -> Any:
        if payload["writer"]:
            return set_payload(self, name, payload, points=points)
        return None

    return taking


async def test_the_head_is_no_hint(connection: QdrantConnection) -> None:
    def looking() -> None:
        (one,) = writers(connection, 1)
        assert one.roll_back(0) == 1
        assert connection.client.retrieve("hints", [HEAD_ID])
        assert one.search(np.array([1.0, 0.0]), 5, STATES) == []
        assert HintCollection(connection, "hints", shared=False).history().all() == []

    await connection.call(looking)


async def test_a_turn_is_not_given_to_two(
    connection: QdrantConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WaitsError(Exception):
        pass

    def waits(_: float) -> None:
        raise WaitsError

    monkeypatch.setattr("agentrec.stores.writers_turn.time.sleep", waits)

    def two() -> None:
        one, other = writers(connection, 2)
        client = connection.client
        with writers_turn.writers_turn(client, "hints", 2):
            holder = Head.read(client, "hints").writer
            assert holder
            with pytest.raises(WaitsError):
                add(other, HINTS[0])
            # Somebody who looked before there was a head does not replace it.
            client.upsert("hints", [Head().point(2)], update_filter=writers_turn._head_of(""))
            assert Head.read(client, "hints").writer == holder
        assert Head.read(client, "hints").writer == ""
        assert add(one, HINTS[0]) == [True]

    await connection.call(two)


async def test_a_server_is_asked_for_states(
    connection: QdrantConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[models.Filter | None] = []
    query = QdrantClient.query_points

    def recorded(*arguments: Any, **options: Any) -> Any:
        asked.append(options["query_filter"])
        return query(*arguments, **options)

    monkeypatch.setattr(QdrantClient, "query_points", recorded)

    def searching() -> None:
        (one,) = writers(connection, 1)
        add(one, HINTS[0], HINTS[1].model_copy(update={"state": "retired"}))
        assert len(one.search(np.array([1.0, 0.0]), 1, ("retired",))) == 1

    await connection.call(searching)
    assert all(each is not None for each in asked)


async def test_hints_that_many_queries_find_are_sent_once(
    connection: QdrantConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[models.QueryRequest] = []
    sizes: list[int] = []
    fetched: list[int] = []
    query, retrieve = QdrantClient.query_batch_points, QdrantClient.retrieve

    def batch(self: QdrantClient, name: str, requests: Any) -> Any:
        asked.extend(requests)
        sizes.append(len(requests))
        return query(self, name, requests)

    def retrieved(self: QdrantClient, name: str, ids: Any, **options: Any) -> Any:
        fetched.append(len(ids))
        return retrieve(self, name, ids, **options)

    monkeypatch.setattr(QdrantClient, "query_batch_points", batch)

    def searching() -> None:
        (one,) = writers(connection, 1)
        one.add_many(HINTS[:3], np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), "added", None)
        monkeypatch.setattr(QdrantClient, "retrieve", retrieved)
        angles = np.linspace(0.01, 1.5, 200)
        found = one.search_many(np.stack([np.cos(angles), np.sin(angles)], 1), 5, ("admitted",))
        assert [len(each) for each in found] == [3] * 200
        assert found[0][1].vector is found[199][1].vector

    await connection.call(searching)
    # What one request takes is bounded.
    assert sizes == [128, 72]
    assert not any(each.with_payload or each.with_vector for each in asked)
    assert all(each.filter is not None for each in asked)
    assert fetched == [3]


async def test_what_leaves_the_states_between_the_two_requests_is_not_found(
    connection: QdrantConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = QdrantClient.query_batch_points

    def searching() -> None:
        one, other = writers(connection, 2)
        add(one, *HINTS[:2])

        def then_retired(self: QdrantClient, name: str, requests: Any) -> Any:
            answers = query(self, name, requests)
            other.change([HINTS[0].model_copy(update={"state": "retired"})], "meanwhile")
            return answers

        monkeypatch.setattr(QdrantClient, "query_batch_points", then_retired)
        (found,) = one.search_many(np.array([[1.0, 0.0]]), 5, ("admitted",))
        assert [each.hint for each in found] == [HINTS[1]]

    await connection.call(searching)
