import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from qdrant_client import QdrantClient

from agentrec.errors import StoreError
from agentrec.hints import Hint, HintProvenance
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.testing.hint_store_conformance import DIMENSION, HintStoreConformance

PROVENANCE = HintProvenance(
    session_id="s1", model="m", prompt_hash="p", diagnosis="why", ndcg_before=0, ndcg_after=0.5
)
EAST = [1.0] + [0.0] * (DIMENSION - 1)


def hint(number: int) -> Hint:
    return Hint(text=f"Prefer films of kind {number}.", provenance=PROVENANCE)


class TestQdrantHintStore(HintStoreConformance):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[QdrantHintStore]:
        async with await QdrantHintStore.open(tmp_path / "new" / "hints", DIMENSION) as store:
            yield store


async def test_reopening_brings_everything_back_and_the_order_goes_on(tmp_path: Path) -> None:
    for start in (0, 10, 20):
        async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
            for number in range(start, start + 10):
                assert await store.add(hint(number), [float(number), 1.0, *EAST[:-2]])
            assert not await store.add(hint(0), EAST)
    async with await QdrantHintStore.open(str(tmp_path), DIMENSION) as store:
        assert await store.all() == [hint(number) for number in range(30)]
        assert len(await store.search(EAST, 30)) == 30


async def test_more_hints_than_one_page_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrec.stores.hint_collection._PAGE", 7)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        await asyncio.gather(*(store.add(hint(number), EAST) for number in range(23)))
        assert await store.all() == [hint(number) for number in range(23)]


async def test_collections_in_one_folder_are_apart(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, DIMENSION, "films") as store:
        await store.add(hint(0), EAST)
    async with await QdrantHintStore.open(tmp_path, 3, "games") as store:
        assert await store.all() == []
    async with await QdrantHintStore.open(tmp_path, DIMENSION, "films") as store:
        assert await store.all() == [hint(0)]


async def test_closing_twice_is_closing_once_and_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await QdrantHintStore.open(tmp_path, DIMENSION)
    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        await store.add(hint(0), EAST)
    with pytest.raises(StoreError, match="closed"):
        await store.all()


async def test_dimension_is_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dimension"):
        await QdrantHintStore.open(tmp_path, 0)


async def test_a_cancelled_add_is_stored_and_the_store_stays_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    slow_search = HintCollection.search

    def blocked(*arguments: Any) -> Any:
        go_on.wait(10)
        return slow_search(*arguments)

    monkeypatch.setattr(HintCollection, "search", blocked)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        search = asyncio.create_task(store.search(EAST, 1))
        adds = [asyncio.create_task(store.add(hint(number), EAST)) for number in range(5)]
        await asyncio.sleep(0.02)
        for waiting in adds:
            waiting.cancel()
        results = await asyncio.gather(*adds, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        go_on.set()
        assert await search == []
        assert await store.add(hint(5), EAST) is True
        assert await store.add(hint(4), EAST) is False
        assert await store.all() == [hint(number) for number in range(6)]


async def test_a_cancelled_opening_gives_the_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_quickly = HintCollection.open

    def slowly(folder: Path, dimension: int, collection: str) -> HintCollection:
        time.sleep(0.1)
        return open_quickly(folder, dimension, collection)

    monkeypatch.setattr(HintCollection, "open", slowly)
    opening = asyncio.create_task(QdrantHintStore.open(tmp_path, DIMENSION))
    await asyncio.sleep(0.02)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.all() == []


async def test_a_failing_disk_is_a_store_error_and_the_hint_can_be_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        with monkeypatch.context() as broken:

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            broken.setattr("qdrant_client.local.persistence.CollectionPersistence.persist", full)
            with pytest.raises(StoreError, match="No space left"):
                await store.add(hint(0), EAST)
        assert await store.all() == []
        assert await store.add(hint(0), EAST) is True


async def test_the_event_loop_goes_on_while_the_disk_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_add = HintCollection.add

    def slower(self: HintCollection, *arguments: Any) -> bool:
        time.sleep(0.5)
        return slow_add(self, *arguments)

    monkeypatch.setattr(HintCollection, "add", slower)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        adding = asyncio.create_task(store.add(hint(0), EAST))
        largest_gap, last = 0.0, time.perf_counter()
        while not adding.done():
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            largest_gap, last = max(largest_gap, now - last), now
        assert await adding is True
    assert largest_gap < 0.25


async def test_every_call_of_the_client_is_made_on_one_other_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[str]] = {}

    def record(name: str) -> None:
        original = getattr(QdrantClient, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return original(*arguments, **options)

        monkeypatch.setattr(QdrantClient, name, recorded)

    for name in ("retrieve", "upsert", "query_points", "scroll", "close", "collection_exists"):
        record(name)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        await store.add(hint(0), EAST)
        await store.search(EAST, 1)
        await store.all()
    assert len(threads) == 6
    assert {len(names) for names in threads.values()} == {1}
    assert threading.current_thread().name not in set.union(*threads.values())
