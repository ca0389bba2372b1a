"""Every hint store keeps the contract: in memory, in a folder, and over HTTP to a Qdrant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from testing.qdrant_http_front import QdrantHttpFront, qdrant_http_front

from agentrec.contracts import HintStore
from agentrec.hints import Hint
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.stores.hints.opening import open_hint_store
from agentrec.testing.hint_store_conformance import DIMENSION, HintStoreConformance


class TestInMemory(HintStoreConformance):
    @pytest.fixture
    def store(self) -> HintStore:
        return InMemoryHintStore(DIMENSION)


class TestFolder(HintStoreConformance):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[HintStore]:
        async with await open_hint_store(tmp_path, DIMENSION) as store:
            yield store


class TestServer(HintStoreConformance):
    @pytest.fixture
    def front(self) -> Iterator[QdrantHttpFront]:
        with qdrant_http_front() as front:
            yield front

    @pytest_asyncio.fixture
    async def store(self, front: QdrantHttpFront) -> AsyncIterator[HintStore]:
        async with await open_hint_store(front.url, DIMENSION) as store:
            yield store


async def test_a_search_for_many_sees_one_revision() -> None:
    store = InMemoryHintStore(2)
    hints = [Hint(text=f"Prefer films of kind {number}.") for number in range(64)]
    await store.add_many(hints, [[1.0, float(number)] for number in range(64)])
    retired = [hint.model_copy(update={"state": "retired"}) for hint in hints]
    searching = asyncio.create_task(store.search_many([[1.0, 0.0]] * 50, 100))
    await asyncio.sleep(0)
    await store.change(retired, "all of them")
    assert {len(found) for found in await searching} in ({64}, {0})
