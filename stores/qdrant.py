"""The hint store that lasts: a Qdrant in a folder, on a server or in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from agentrec.contracts import HintStore
from agentrec.hints import ADMITTED, Hint, HintEmbedding, HintState, Revision, ScoredHint
from agentrec.stores.cosine import check_limit, unit_vector, unit_vectors
from agentrec.stores.hint_collection import HintCollection
from agentrec.stores.hint_history import check_each_once, check_of_namespace
from agentrec.stores.naming import DEFAULT_COLLECTION, collection_name
from agentrec.stores.qdrant_connection import (
    QdrantConnection,
    connect_folder,
    connect_memory,
    connect_server,
    finished,
)

_Result = TypeVar("_Result")

# More vectors than these take longer than an event loop should stand still.
_CONVERTED_AT_ONCE = 64


class QdrantHintStore(HintStore):
    """Hints kept by a Qdrant: embedded in a folder with no server needed, or on a server.

    Made by ``open``, ``open_server`` or ``open_in_memory``; closed by ``aclose`` or by leaving
    ``async with``::

        async with await QdrantHintStore.open("knowledge", dimension=384) as store:
            await store.add(hint, vector)

    All blocking calls run, one after another, on a thread of their own. What was added or changed
    is stored when the call returns; many calls may be awaited at once, from any thread.

    A folder is open in one process at a time. Opening it again in the same process shares it,
    and the last one to close gives it back. There a revision is stored whole or not at all,
    whenever the process is killed. On a server many processes may write, one at a time; a
    revision of more than 256 hints may be stored in part if its writer is killed, and the same
    call completes it.

    Searches are exact. In a folder they are made here, on vectors that the first search reads into
    memory; a server makes its own. Qdrant's embedded mode is meant for up to 20,000 hints; beyond,
    it warns.
    """

    def __init__(
        self,
        connection: QdrantConnection,
        hints: HintCollection,
        namespace: str,
        embedding: HintEmbedding | None,
    ) -> None:
        self._connection = connection
        self._hints = hints
        self._namespace = namespace
        self._embedding = embedding
        self._dimension = hints.dimension
        self._closing: Future[None] | None = None
        self._guard = threading.Lock()

    @classmethod
    async def open(
        cls,
        path: Path | str,
        dimension: int,
        collection: str = DEFAULT_COLLECTION,
        *,
        namespace: str = "",
        embedding_model: str = "",
    ) -> QdrantHintStore:
        """Open a knowledge base in a folder, making it if it is not there.

        Args:
            path: The folder.
            dimension: Length of every vector, at least 1.
            collection: Name within the folder.
            namespace: The namespace of every hint; each has a collection of its own.
            embedding_model: What vectors are made with; hints are stored with it. Empty if
                unknown.

        Raises:
            StoreError: If another process holds the folder, it cannot be read or made, or the
                knowledge base was made with another embedding model or vectors of another length.
            ValueError: If ``dimension`` is below 1, or ``namespace`` cannot be one.
        """
        name = _checked(dimension, collection, namespace)
        connection = await connect_folder(path)
        return await cls._opened(connection, name, dimension, namespace, embedding_model)

    @classmethod
    async def open_server(
        cls,
        url: str,
        dimension: int,
        collection: str = DEFAULT_COLLECTION,
        *,
        namespace: str = "",
        embedding_model: str = "",
    ) -> QdrantHintStore:
        """Open a knowledge base on a Qdrant server, making it if it is not there.

        An API key is taken from the environment variable ``AGENTREC_QDRANT_API_KEY``.

        Args:
            url: Address of the server, ``http://localhost:6333`` for example.
            dimension: See ``open``.
            collection: Name on the server.
            namespace: See ``open``.
            embedding_model: See ``open``.

        Raises:
            StoreError: If the server does not answer or refuses, or the knowledge base does not
                fit.
            ValueError: See ``open``.
        """
        name = _checked(dimension, collection, namespace)
        connection = connect_server(url)
        return await cls._opened(connection, name, dimension, namespace, embedding_model)

    @classmethod
    async def open_in_memory(
        cls,
        dimension: int,
        collection: str = DEFAULT_COLLECTION,
        *,
        namespace: str = "",
        embedding_model: str = "",
    ) -> QdrantHintStore:
        """Open an empty knowledge base in a Qdrant in memory, gone when it is closed.

        Args:
            dimension: See ``open``.
            collection: Name of its collection.
            namespace: See ``open``.
            embedding_model: See ``open``.

        Raises:
            ValueError: See ``open``.
        """
        name = _checked(dimension, collection, namespace)
        connection = connect_memory()
        return await cls._opened(connection, name, dimension, namespace, embedding_model)

    @classmethod
    async def _opened(
        cls,
        connection: QdrantConnection,
        name: str,
        dimension: int,
        namespace: str,
        embedding_model: str,
    ) -> Self:
        opening = partial(
            HintCollection.open,
            connection,
            name,
            dimension,
            embedding_model,
            shared=connection.remote,
        )
        try:
            hints = await connection.call(opening)
        except BaseException:
            # The thread opens it all the same: hand it back before the caller goes on.
            await finished(connection.release())
            raise
        embedding = (
            HintEmbedding(model=embedding_model, dimension=dimension) if embedding_model else None
        )
        return cls(connection, hints, namespace, embedding)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was begun and give the folder back. Closing twice is closing once."""
        with self._guard:
            if self._closing is None:
                self._closing = self._connection.release()
        await finished(self._closing)

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint; see ``HintStore.add``.

        Cancelling the wait does not cancel the storing: a hint was paid for, and adding it again
        changes nothing.
        """
        return (await self.add_many([hint], [vector]))[0]

    async def add_many(
        self, hints: Sequence[Hint], vectors: Sequence[Sequence[float]], note: str = "added"
    ) -> list[bool]:
        """Store hints in one revision; see ``HintStore.add_many``."""
        kept = tuple(hints)
        check_of_namespace(kept, self._namespace)
        directions = await self._unit_vectors(tuple(vectors), len(kept))
        return await self._call(
            lambda: self._hints.add_many(kept, directions, note, self._embedding)
        )

    async def change(self, hints: Sequence[Hint], note: str) -> int:
        """Put hints in the place of stored ones; see ``HintStore.change``."""
        kept = tuple(hints)
        check_of_namespace(kept, self._namespace)
        check_each_once(kept)
        return await self._call(lambda: self._hints.change(kept, note))

    async def get(self, hint_id: str) -> Hint | None:
        """The stored hint of an id, in whatever state, or ``None``."""
        return await self._call(lambda: self._hints.history().get(hint_id))

    async def search(
        self, vector: Sequence[float], limit: int, states: Sequence[HintState] = ADMITTED
    ) -> list[ScoredHint]:
        """Find the stored hints nearest to a vector; see ``HintStore.search``."""
        check_limit(limit)
        direction = unit_vector(vector, self._dimension)
        asked = tuple(states)
        return await self._call(lambda: self._hints.search(direction, limit, asked))

    async def search_many(
        self,
        vectors: Sequence[Sequence[float]],
        limit: int,
        states: Sequence[HintState] = ADMITTED,
    ) -> list[list[ScoredHint]]:
        """Search for many vectors at once; see ``HintStore.search_many``."""
        check_limit(limit)
        directions = await self._unit_vectors(tuple(vectors))
        asked = tuple(states)
        return await self._call(lambda: self._hints.search_many(directions, limit, asked))

    async def all(self, states: Sequence[HintState] = ADMITTED) -> list[Hint]:
        """Every stored hint in some states, in the order in which they were added."""
        asked = tuple(states)
        return await self._call(lambda: self._hints.history().all(asked))

    async def revisions(self) -> list[Revision]:
        """Every change, the first one first."""
        return await self._call(lambda: self._hints.history().revisions())

    async def as_of(self, revision: int) -> list[Hint]:
        """The knowledge base as a revision left it; see ``HintStore.as_of``."""
        return await self._call(lambda: self._hints.history().as_of(revision))

    async def roll_back(self, revision: int) -> int:
        """Make the knowledge base again what a revision left it; see ``HintStore.roll_back``."""
        return await self._call(lambda: self._hints.roll_back(revision))

    async def _unit_vectors(
        self, vectors: Sequence[Sequence[float]], count: int | None = None
    ) -> npt.NDArray[np.float64]:
        count = len(vectors) if count is None else count
        if len(vectors) <= _CONVERTED_AT_ONCE:
            return unit_vectors(vectors, count, self._dimension)
        return await asyncio.to_thread(unit_vectors, vectors, count, self._dimension)

    async def _call(self, blocking: Callable[[], _Result]) -> _Result:
        if self._closing is not None:
            raise self._connection.closed()
        return await self._connection.call(blocking)


def _checked(dimension: int, collection: str, namespace: str) -> str:
    """The collection's name, if there can be such a knowledge base."""
    if dimension < 1:
        raise ValueError(f"dimension is at least 1, not {dimension}")
    return collection_name(collection, namespace)
