"""Many points in one transaction of an embedded Qdrant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_client.local.qdrant_local import QdrantLocal

_CHUNK = 256


def write_points(
    client: QdrantClient, collection: str, points: Sequence[models.PointStruct]
) -> None:
    """Store points. In a folder it is all of them or none; on a server, all of each 256 or none.

    Args:
        client: The client.
        collection: Where to.
        points: The points, with vectors.
    """
    with _one_transaction(client, collection):
        for start in range(0, len(points), _CHUNK):
            client.upsert(collection, list(points[start : start + _CHUNK]))


@contextmanager
def _one_transaction(client: QdrantClient, collection: str) -> Iterator[None]:
    """Commit what is written within together.

    The client's embedded mode commits every point by itself: a kill in between would leave half a
    revision, and ten thousand points would wait for the disk ten thousand times.
    """
    local = client._client
    storage = local.collections[collection].storage if isinstance(local, QdrantLocal) else None
    if storage is None:
        yield
        return
    connection = storage.storage
    storage.storage = _Uncommitted(connection)  # type: ignore[assignment]
    try:
        with connection:
            yield
    finally:
        storage.storage = connection


class _Uncommitted:
    """A connection that leaves committing to somebody else."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        return self._connection.execute(*statement)
