import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.local.persistence import CollectionPersistence

from agentrec.errors import StoreError
from agentrec.hints import Hint, HintEmbedding, HintProvenance
from agentrec.stores.folder_description import KnowledgeBaseInfo, describe, namespaces
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.testing.hint_store_conformance import DIMENSION

PROVENANCE = HintProvenance(
    session_id="s1", model="m", prompt_hash="p", diagnosis="why", ndcg_before=0, ndcg_after=0.5
)
EAST = [1.0] + [0.0] * (DIMENSION - 1)


def hint(number: int) -> Hint:
    return Hint(text=f"Prefer films of kind {number}.", provenance=PROVENANCE)


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
    monkeypatch.setattr("agentrec.stores.collection_access._PAGE", 7)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        await asyncio.gather(*(store.add(hint(number), EAST) for number in range(23)))
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.all() == [hint(number) for number in range(23)]
        assert await store.roll_back(20) == 24
        assert len(await store.all()) == 20
        assert len(await store.search(EAST, 23)) == 20


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
    searching, go_on = threading.Event(), threading.Event()
    slow_search = HintCollection.search

    def blocked(*arguments: Any) -> Any:
        searching.set()
        go_on.wait(10)
        return slow_search(*arguments)

    monkeypatch.setattr(HintCollection, "search", blocked)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        search = asyncio.create_task(store.search(EAST, 1))
        adds = [asyncio.create_task(store.add(hint(number), EAST)) for number in range(5)]
        await asyncio.to_thread(searching.wait, 10)
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

    begun, go_on = threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> HintCollection:
        begun.set()
        go_on.wait(10)
        return open_quickly(*arguments, **options)

    monkeypatch.setattr(HintCollection, "open", slowly)
    opening = asyncio.create_task(QdrantHintStore.open(tmp_path, DIMENSION))
    await asyncio.to_thread(begun.wait, 10)
    opening.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.all() == []


@pytest.mark.parametrize("written_before", [0, 3])
async def test_a_failing_disk_is_a_store_error_and_nothing_of_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_before: int
) -> None:
    hints = [hint(number) for number in range(5)]
    persist = CollectionPersistence.persist
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.add(hint(0), EAST) is True
        with monkeypatch.context() as broken:
            left = iter(range(written_before))

            def full(self: CollectionPersistence, point: models.PointStruct) -> None:
                if next(left, None) is None:
                    raise OSError(28, "No space left on device")
                persist(self, point)

            broken.setattr(CollectionPersistence, "persist", full)
            with pytest.raises(StoreError, match="No space left"):
                await store.add_many(hints, [EAST] * 5)
        assert await store.all() == [hint(0)]
        assert len(await store.search(EAST, 9)) == 1
        assert await store.add_many(hints, [EAST] * 5) == [False, True, True, True, True]
        assert len(await store.search(EAST, 9)) == 5
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.all() == hints
        assert len(await store.revisions()) == 2


async def test_the_event_loop_goes_on_while_the_disk_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_add = HintCollection.add_many
    writing, go_on = threading.Event(), threading.Event()

    def slower(*arguments: Any) -> list[bool]:
        writing.set()
        assert go_on.wait(10), "the event loop stood still"
        return quick_add(*arguments)

    monkeypatch.setattr(HintCollection, "add_many", slower)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        adding = asyncio.create_task(store.add(hint(0), EAST))
        await asyncio.to_thread(writing.wait, 10)
        go_on.set()
        assert await adding is True


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

    used = ("retrieve", "upsert", "scroll", "close", "collection_exists")
    for name in used:
        record(name)
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        await store.add(hint(0), EAST)
        await store.search(EAST, 1)
        await store.change([hint(0)], "changed")
        await store.all()
    assert set(threads) == set(used)
    assert {len(names) for names in threads.values()} == {1}
    assert threading.current_thread().name not in set.union(*threads.values())


async def test_every_revision_is_there_after_reopening(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.roll_back(0) == 1
        await store.add_many([hint(0), hint(1)], [EAST, EAST], "two")
        await store.change([hint(0).model_copy(update={"state": "retired"})], "one less")
        await store.roll_back(2)
        await store.roll_back(4)
        seen = [await store.as_of(number) for number in range(6)]
        revisions = await store.revisions()
    async with await QdrantHintStore.open(tmp_path, DIMENSION) as store:
        assert await store.revisions() == revisions
        assert [await store.as_of(number) for number in range(6)] == seen
        assert await store.add(hint(2), EAST)
        assert (await store.revisions())[-1].number == 6


async def test_hints_are_stored_with_what_their_vectors_were_made_with(tmp_path: Path) -> None:
    embedding = HintEmbedding(model="minilm", dimension=DIMENSION)
    opening = QdrantHintStore.open(tmp_path, DIMENSION, embedding_model="minilm")
    async with await opening as store:
        await store.add(hint(0), EAST)
        await store.change([hint(0)], "changed")
        assert [each.embedding for each in await store.all()] == [embedding]


async def test_namespaces_are_apart(tmp_path: Path) -> None:
    text = "Prefer old films."
    for namespace in ("", "films", "films-2", "hints"):
        own = Hint(text=text, namespace=namespace)
        async with await QdrantHintStore.open(tmp_path, DIMENSION, namespace=namespace) as store:
            assert await store.add(own, EAST) is True
            assert await store.all() == [own]
            with pytest.raises(ValueError, match="namespace"):
                await store.add(Hint(text=text, namespace="elsewhere"), EAST)
    assert await namespaces(tmp_path) == ["", "films", "films-2", "hints"]
    assert await namespaces(tmp_path / "none") == []
    with pytest.raises(ValueError, match="namespace"):
        await QdrantHintStore.open(tmp_path, DIMENSION, namespace="no/such")


async def test_a_knowledge_base_can_be_described_without_knowing_it(tmp_path: Path) -> None:
    assert await describe(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    opening = QdrantHintStore.open(tmp_path, DIMENSION, namespace="films", embedding_model="m")
    async with await opening as store:
        films = [Hint(text=f"film {number}", namespace="films") for number in range(3)]
        await store.add_many(films, [EAST] * 3)
        await store.change([films[0].model_copy(update={"state": "retired"})], "one less")
        while_open = await describe(tmp_path, "films")
    assert await describe(tmp_path, "films") == while_open
    assert while_open == KnowledgeBaseInfo(
        namespace="films",
        embedding_model="m",
        dimension=DIMENSION,
        counts={"nominated": 0, "admitted": 2, "retired": 1},
        revisions=2,
    )
    assert await describe(tmp_path) is None
