"""Every way of opening a Qdrant fulfils the contract."""

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from qdrant_client import QdrantClient

from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.stores.qdrant_connection import API_KEY_VARIABLE, connect_memory
from agentrec.testing.hint_store_conformance import DIMENSION, HintStoreConformance

SERVER = os.environ.get("AGENTREC_QDRANT_URL", "")


class TestEmbedded(HintStoreConformance):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[QdrantHintStore]:
        async with await QdrantHintStore.open(tmp_path / "new" / "hints", DIMENSION) as store:
            yield store


class TestInMemory(HintStoreConformance):
    @pytest_asyncio.fixture
    async def store(self) -> AsyncIterator[QdrantHintStore]:
        async with await QdrantHintStore.open_in_memory(DIMENSION) as store:
            yield store


class TestWithOtherWriters(HintStoreConformance):
    """The way a server is used, on a Qdrant in memory."""

    @pytest_asyncio.fixture
    async def store(self) -> AsyncIterator[QdrantHintStore]:
        connection = connect_memory()
        hints = await connection.call(
            lambda: HintCollection.open(connection, "hints", DIMENSION, shared=True)
        )
        async with QdrantHintStore(connection, hints, "", None) as store:
            yield store


@pytest.mark.skipif(not SERVER, reason="AGENTREC_QDRANT_URL names no Qdrant server")
class TestServer(HintStoreConformance):
    @pytest_asyncio.fixture
    async def store(self) -> AsyncIterator[QdrantHintStore]:
        name = f"agentrec-test-{uuid.uuid4().hex}"
        async with await QdrantHintStore.open_server(SERVER, DIMENSION, name) as store:
            yield store
        client = QdrantClient(url=SERVER, api_key=os.environ.get(API_KEY_VARIABLE))
        client.delete_collection(name)
        client.close()
