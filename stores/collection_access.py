"""Find, make and read the collection of a Qdrant that holds a knowledge base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdrant_client import QdrantClient, models

from agentrec.errors import StoreError
from agentrec.stores.naming import current_alias
from agentrec.stores.qdrant_connection import QdrantConnection
from agentrec.stores.writers_turn import HEAD_ID

_PAGE = 1_000


def physical_name(client: QdrantClient, name: str) -> str:
    """The collection that holds what the user knows by a name.

    It has another name once it was embedded anew.
    """
    alias = current_alias(name)
    for each in client.get_aliases().aliases:
        if each.alias_name == alias:
            return each.collection_name
    return name


def make_if_missing(connection: QdrantConnection, name: str, dimension: int) -> None:
    """Make a knowledge base's collection unless it is there.

    Args:
        connection: The connection; on its thread.
        name: The collection's name, as the user knows it.
        dimension: Length of every vector.
    """
    client = connection.client
    if not client.collection_exists(physical_name(client, name)):
        make_collection(connection, name, dimension)


def make_collection(connection: QdrantConnection, name: str, dimension: int) -> None:
    """Make a collection for hints.

    Args:
        connection: The connection; on its thread.
        name: The collection's name in Qdrant.
        dimension: Length of every vector.
    """
    client = connection.client
    wanted = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
    try:
        client.create_collection(name, vectors_config=wanted)
    except Exception:
        # Another process may have been faster.
        if not client.collection_exists(name):
            raise
    if connection.remote:
        client.create_payload_index(name, "state", models.PayloadSchemaType.KEYWORD)
        client.create_payload_index(name, "revision", models.PayloadSchemaType.INTEGER)


def dimension_of(connection: QdrantConnection, name: str) -> int:
    """Length of a collection's vectors.

    Raises:
        StoreError: If it was made by something else.
    """
    found = connection.client.get_collection(name).config.params.vectors
    if not isinstance(found, models.VectorParams) or found.distance != models.Distance.COSINE:
        raise StoreError(
            f"{connection.address}: collection {name!r} was not made by a hint store; "
            "use another collection name or folder"
        )
    return found.size


def payloads(
    client: QdrantClient, name: str, after: int | None = None
) -> Iterator[Mapping[str, Any] | None]:
    """What every hint's point holds, in no order.

    Args:
        client: The client.
        name: The collection's name in Qdrant.
        after: Only hints that changed after this revision; ``None`` for all.
    """
    only = None
    if after is not None:
        later = models.FieldCondition(key="revision", range=models.Range(gt=after))
        only = models.Filter(must=[later])
    offset: models.ExtendedPointId | None = None
    while True:
        records, following = client.scroll(name, scroll_filter=only, limit=_PAGE, offset=offset)
        for record in records:
            if str(record.id) != HEAD_ID:
                yield record.payload
        if following is None:
            return
        offset = str(following) if not isinstance(following, int) else following


def misfit(
    address: str, known: str, dimension: int, asked: str, asked_dimension: int
) -> StoreError:
    """The failure of opening a knowledge base with another embedding model than its own.

    Args:
        address: Where it is.
        known: Its embedding model, empty if unknown.
        dimension: Length of its vectors.
        asked: The embedding model it was opened with, empty if unknown.
        asked_dimension: Length of that model's vectors.
    """
    return StoreError(
        f"{address}: this knowledge base was made with {known or 'an unnamed model'} and vectors "
        f"of length {dimension}, not with {asked or 'an unnamed model'} and {asked_dimension}; "
        "use the embedding model it was made with, another folder, or give it the new model's "
        "vectors with `agentrec kb reembed`"
    )
