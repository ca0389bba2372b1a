"""The hint store on disk: an embedded Qdrant behind one worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from agentrec.catalog import clean_text
from agentrec.contracts import HintStore
from agentrec.errors import StoreError
from agentrec.hints import Hint, ScoredHint
from agentrec.stores.cosine import check_limit, unit_vector
from agentrec.stores.hint_collection import HintCollection

_Result = TypeVar("_Result")


class QdrantHintStore(HintStore):
    """Hints in a folder, kept by an embedded Qdrant; no server needed.

    Made by ``open``; closed by ``aclose`` or by leaving ``async with``::

        async with await QdrantHintStore.open("knowledge", dimension=384) as store:
            await store.add(hint, vector)

    All blocking calls run, one after another, on a thread of the store's own: SQLite connections
    belong to one thread, and the event loop never waits for the disk. A hint is on disk when
    ``add`` returns; many ``add`` calls may be awaited at once. One opener at a time may hold a
    folder, in this process or any other.

    Qdrant's embedded mode is exact and meant for up to 20,000 hints; beyond, it warns.
    """

    def __init__(
        self, hints: HintCollection, worker: ThreadPoolExecutor, folder: Path, dimension: int
    ) -> None:
        self._hints = hints
        self._worker = worker
        self._folder = folder
        self._dimension = dimension
        self._closing: Future[None] | None = None

    @classmethod
    async def open(
        cls, path: Path | str, dimension: int, collection: str = "hints"
    ) -> QdrantHintStore:
        """Open a knowledge base, making it if it is not there.

        Args:
            path: The folder.
            dimension: Length of every vector, at least 1.
            collection: Name within the folder.

        Raises:
            StoreError: If another opener holds the folder, it cannot be read or made, or the
                collection holds vectors of another length.
            ValueError: If ``dimension`` is below 1.
        """
        if dimension < 1:
            raise ValueError(f"dimension is at least 1, not {dimension}")
        folder = Path(path)
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hint-store")
        opening = worker.submit(HintCollection.open, folder, dimension, collection)
        try:
            hints = await _finished(opening)
        except asyncio.CancelledError:
            # The thread opens the folder all the same: hand it back before the caller goes on.
            undoing = worker.submit(_close_opened, opening)
            worker.shutdown(wait=False)
            await _finished(undoing)
            raise
        except StoreError:
            worker.shutdown(wait=False)
            raise
        return cls(hints, worker, folder, dimension)

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
        if self._closing is None:
            self._closing = self._worker.submit(self._hints.close)
            self._worker.shutdown(wait=False)
        await _finished(self._closing)

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint; see ``HintStore.add``.

        Cancelling the wait does not cancel the storing: a hint was paid for, and adding it again
        changes nothing.
        """
        direction = unit_vector(vector, self._dimension)
        return await self._call(lambda: self._hints.add(hint, direction))

    async def search(self, vector: Sequence[float], limit: int) -> list[ScoredHint]:
        """Find the stored hints nearest to a vector; see ``HintStore.search``."""
        check_limit(limit)
        direction = unit_vector(vector, self._dimension)
        return await self._call(lambda: self._hints.search(direction, limit))

    async def all(self) -> list[Hint]:
        """Every stored hint, in the order in which they were added."""
        return await self._call(self._hints.all)

    async def _call(self, blocking: Callable[[], _Result]) -> _Result:
        if self._closing is not None:
            raise StoreError(f"{self._folder}: this knowledge base is closed; open it again")
        try:
            return await _finished(self._worker.submit(blocking))
        except StoreError:
            raise
        except Exception as error:
            reason = clean_text(f"{type(error).__name__}: {error}", 200)
            raise StoreError(f"{self._folder}: the knowledge base failed: {reason}") from error


async def _finished(job: Future[_Result]) -> _Result:
    """Wait for a job of the worker; a cancelled wait leaves the job running."""
    return await asyncio.shield(asyncio.wrap_future(job))


def _close_opened(opening: Future[HintCollection]) -> None:
    if opening.exception() is None:
        opening.result().close()
