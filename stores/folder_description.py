"""What the knowledge bases in a folder are, for those who do not know their embedding model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentrec.hints import STATES, HintState
from agentrec.stores.folder_check import collections_in
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.naming import DEFAULT_COLLECTION, collection_name, namespaces_among
from agentrec.stores.qdrant_connection import QdrantConnection, connect_folder, finished


@dataclass(frozen=True)
class KnowledgeBaseInfo:
    """What one knowledge base is.

    Attributes:
        namespace: The namespace of its hints.
        embedding_model: What its vectors were made with; empty if unknown.
        dimension: Length of its vectors.
        counts: How many hints it has in each state, all states named.
        revisions: How many changes were made to it.
    """

    namespace: str
    embedding_model: str
    dimension: int
    counts: Mapping[HintState, int]
    revisions: int


async def namespaces(path: Path | str) -> list[str]:
    """The namespaces that have a knowledge base in a folder, in order; also while it is open.

    Raises:
        StoreError: If the folder cannot be read.
    """
    return namespaces_among(await asyncio.to_thread(collections_in, Path(path)))


async def describe(path: Path | str, namespace: str = "") -> KnowledgeBaseInfo | None:
    """Describe a knowledge base, or ``None`` if there is no such one.

    Raises:
        StoreError: If another process holds the folder, or it cannot be read.
    """
    if namespace not in await namespaces(path):
        return None
    connection = await connect_folder(path)
    try:
        return await connection.call(lambda: _described(connection, namespace))
    finally:
        await finished(connection.release())


def _described(connection: QdrantConnection, namespace: str) -> KnowledgeBaseInfo:
    hints = HintCollection.open_existing(connection, collection_name(DEFAULT_COLLECTION, namespace))
    return described(hints, namespace)


def described(hints: HintCollection, namespace: str) -> KnowledgeBaseInfo:
    """What an open collection is and holds; blocks, on the thread of its connection."""
    counted = Counter(hint.state for hint in hints.history().all())
    return KnowledgeBaseInfo(
        namespace=namespace,
        embedding_model=hints.embedding_model,
        dimension=hints.dimension,
        counts={state: counted[state] for state in STATES},
        revisions=hints.history().latest,
    )
