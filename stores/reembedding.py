"""Give a knowledge base in a folder the vectors of another embedding model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from agentrec.errors import StoreError
from agentrec.hints import Hint, HintEmbedding
from agentrec.stores.batched_writes import write_points
from agentrec.stores.collection_access import make_collection, physical_name
from agentrec.stores.cosine import unit_vectors
from agentrec.stores.folder_description import namespaces
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.naming import (
    DEFAULT_COLLECTION,
    collection_name,
    current_alias,
    is_generation,
    next_generation,
)
from agentrec.stores.qdrant_connection import QdrantConnection, connect_folder, finished

_BATCH = 256


async def reembed(
    path: Path | str,
    embed: Callable[[Sequence[str]], Awaitable[list[list[float]]]],
    embedding_model: str,
    dimension: int,
    namespace: str = "",
) -> int:
    """Embed every hint of a knowledge base anew, which is one more revision of it.

    Everything that was known stays known. The new vectors are kept beside the old ones until they
    are complete: whenever the process is killed, the knowledge base is the old or the new one,
    and the same call completes the work.

    Args:
        path: The folder; nobody else may have it open.
        embed: Turns texts into vectors, ``[num_texts, dimension]``; called with up to 256.
        embedding_model: What the vectors are made with, not empty.
        dimension: Length of the vectors, at least 1.
        namespace: The namespace of the hints.

    Returns:
        How many hints were embedded; 0 if all of them are of this model already.

    Raises:
        StoreError: If there is no such knowledge base, or it is open elsewhere.
        ValueError: If ``embedding_model`` is empty, or ``embed`` gives other vectors.
    """
    wanted = HintEmbedding(model=embedding_model, dimension=dimension)
    if not embedding_model:
        raise ValueError("the embedding model needs a name: hints are stored with it")
    name = collection_name(DEFAULT_COLLECTION, namespace)
    if namespace not in await namespaces(path):
        raise StoreError(f"{path}: there is no knowledge base of namespace {namespace!r}")
    connection = await connect_folder(path, alone=True)
    try:
        hints = await connection.call(lambda: _begin(connection, name, wanted))
        if hints is None:
            return 0
        vectors: list[list[float]] = []
        for start in range(0, len(hints), _BATCH):
            vectors += await embed([hint.text for hint in hints[start : start + _BATCH]])
        directions = unit_vectors(vectors, len(hints), dimension)
        await connection.call(lambda: _finish(connection, name, wanted, directions))
        return len(hints)
    finally:
        await finished(connection.release())


def _begin(connection: QdrantConnection, name: str, wanted: HintEmbedding) -> list[Hint] | None:
    """The hints to embed, in the order of adding; ``None`` if there is nothing to do."""
    _remove_other_generations(connection.client, name)
    old = HintCollection.open_existing(connection, name)
    hints = old.history().all()
    fits = old.dimension == wanted.dimension
    return None if fits and all(hint.embedding == wanted for hint in hints) else hints


def _finish(
    connection: QdrantConnection,
    name: str,
    wanted: HintEmbedding,
    directions: npt.NDArray[np.float64],
) -> None:
    client = connection.client
    old = HintCollection.open_existing(connection, name)
    points = old.points_embedded_anew(wanted, directions.tolist())
    new_name = next_generation(name, physical_name(client, name))
    make_collection(connection, new_name, wanted.dimension)
    write_points(client, new_name, points)
    # From here on it is the new one: the client replaces the file that holds this as a whole.
    creating = models.CreateAlias(collection_name=new_name, alias_name=current_alias(name))
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=creating)])
    del connection.opened[name]
    _remove_other_generations(client, name)


def _remove_other_generations(client: QdrantClient, name: str) -> None:
    """Remove what an earlier attempt, or the generation before, left."""
    current = physical_name(client, name)
    for each in client.get_collections().collections:
        if each.name != current and is_generation(each.name, name):
            client.delete_collection(each.name)
