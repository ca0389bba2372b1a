"""What a knowledge base on a Qdrant server is, for a command that was only told the address."""

from __future__ import annotations

from agentrec.stores.folder_description import KnowledgeBaseInfo, described
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.naming import DEFAULT_COLLECTION, collection_name, namespaces_among
from agentrec.stores.qdrant_connection import QdrantConnection, connect_server, finished


async def server_namespaces(url: str) -> list[str]:
    """The namespaces that have a knowledge base on a server, in order.

    Raises:
        StoreError: If the server does not answer or refuses.
    """
    connection = connect_server(url)
    try:
        return await connection.call(lambda: _namespaces(connection))
    finally:
        await finished(connection.release())


async def describe_server(url: str, namespace: str) -> KnowledgeBaseInfo | None:
    """Describe a knowledge base on a server, or ``None`` if there is no such one.

    Raises:
        StoreError: If the server does not answer or refuses.
    """
    connection = connect_server(url)
    try:
        return await connection.call(lambda: _described(connection, namespace))
    finally:
        await finished(connection.release())


def _namespaces(connection: QdrantConnection) -> list[str]:
    found = connection.client.get_collections().collections
    return namespaces_among(each.name for each in found)


def _described(connection: QdrantConnection, namespace: str) -> KnowledgeBaseInfo | None:
    if namespace not in _namespaces(connection):
        return None
    name = collection_name(DEFAULT_COLLECTION, namespace)
    hints = HintCollection.open_existing(connection, name, shared=True)
    return described(hints, namespace)
