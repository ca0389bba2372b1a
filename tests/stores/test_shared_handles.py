"""A folder that is opened more than once in one process."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from agentrec.errors import StoreError
from agentrec.hints import Hint
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.stores.qdrant_connection import connect_folder, finished

HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(40)]
EAST = [1.0, 0.0]


async def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, 2) as one:
        async with await QdrantHintStore.open(tmp_path / ".." / tmp_path.name, 2) as other:
            assert await one.add(HINTS[0], EAST) is True
            assert await other.add(HINTS[0], EAST) is False
            assert await other.change([HINTS[0]], "changed") == 2
        assert [hint.version for hint in await one.all()] == [2]
        with pytest.raises(StoreError, match="closed"):
            await other.all()
        assert await one.add(HINTS[1], EAST) is True
    async with await QdrantHintStore.open(tmp_path, 2) as again:
        assert len(await again.revisions()) == 3


async def test_closing_one_handle_twice_leaves_the_other_open(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, 2) as one:
        other = await QdrantHintStore.open(tmp_path, 2)
        await asyncio.gather(other.aclose(), other.aclose(), other.aclose())
        assert await one.all() == []


async def test_other_collections_of_an_open_folder_can_be_opened(tmp_path: Path) -> None:
    async with (
        await QdrantHintStore.open(tmp_path, 2) as one,
        await QdrantHintStore.open(tmp_path, 3, namespace="films") as other,
    ):
        await one.add(HINTS[0], EAST)
        assert await other.all() == []


async def test_an_open_knowledge_base_has_one_length_and_one_embedding_model(
    tmp_path: Path,
) -> None:
    async with await QdrantHintStore.open(tmp_path, 2, embedding_model="minilm") as one:
        with pytest.raises(StoreError, match="length 2"):
            await QdrantHintStore.open(tmp_path, 3, embedding_model="minilm")
        with pytest.raises(StoreError, match=r"minilm.*other"):
            await QdrantHintStore.open(tmp_path, 2, embedding_model="other")
        assert await one.add(HINTS[0], EAST) is True
    async with await QdrantHintStore.open(tmp_path, 2, embedding_model="minilm") as one:
        assert len(await one.all()) == 1


async def test_it_can_be_opened_while_it_closes(tmp_path: Path) -> None:
    async def use(hint: Hint) -> bool:
        async with await QdrantHintStore.open(tmp_path, 2) as store:
            return await store.add(hint, EAST)

    assert all([await use(hint) for hint in HINTS[:10]])
    assert await asyncio.gather(*(use(hint) for hint in HINTS)) == [False] * 10 + [True] * 30
    closing = [await QdrantHintStore.open(tmp_path, 2) for _ in range(3)]
    *_, store = await asyncio.gather(
        *(each.aclose() for each in closing), QdrantHintStore.open(tmp_path, 2)
    )
    assert isinstance(store, QdrantHintStore)
    assert len(await store.all()) == 40
    await store.aclose()


async def test_opening_waits_for_the_one_before_to_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, opening = threading.Event(), threading.Event()
    close = QdrantClient.close

    def slow_close(self: QdrantClient) -> None:
        closing.set()
        opening.wait(2)
        close(self)

    def seen_waiting(previous: Any) -> Any:
        opening.set()
        return wait(previous)

    monkeypatch.setattr(QdrantClient, "close", slow_close)
    monkeypatch.setattr("agentrec.stores.qdrant_connection.wait", seen_waiting)
    store = await QdrantHintStore.open(tmp_path, 2)
    leaving = asyncio.create_task(store.aclose())
    await asyncio.to_thread(closing.wait, 10)
    async with await QdrantHintStore.open(tmp_path, 2) as store:
        assert await store.all() == []
    await leaving


def test_threads_with_loops_of_their_own_share_it(tmp_path: Path) -> None:
    answers: list[bool] = []

    async def use(hints: Sequence[Hint]) -> None:
        async with await QdrantHintStore.open(tmp_path, 2) as store:
            answers.extend(await store.add_many(hints, [EAST] * len(hints)))
            for hint in hints:
                await store.change([hint], "changed")

    threads = [threading.Thread(target=asyncio.run, args=(use(HINTS[:20]),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def versions() -> list[int]:
        async with await QdrantHintStore.open(tmp_path, 2) as store:
            return [hint.version for hint in await store.all()]

    assert sum(answers) == 20
    assert asyncio.run(versions()) == [5] * 20


async def test_who_wants_it_alone_has_it_alone(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, 2):
        with pytest.raises(StoreError, match="in this process; close it there"):
            await connect_folder(tmp_path, alone=True)
    alone = await connect_folder(tmp_path, alone=True)
    with pytest.raises(StoreError, match="in this process; close it there"):
        await QdrantHintStore.open(tmp_path, 2)
    await finished(alone.release())
    async with await QdrantHintStore.open(tmp_path, 2):
        pass


async def test_a_failed_opening_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{")
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be read"):
            await QdrantHintStore.open(tmp_path, 2)
    (tmp_path / "meta.json").unlink()
    async with await QdrantHintStore.open(tmp_path, 2) as store:
        assert await store.all() == []
