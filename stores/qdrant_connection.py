"""One Qdrant client and the one thread that makes all its calls, shared within the process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from agentrec.catalog import clean_text
from agentrec.errors import StoreError
from agentrec.stores.folder_check import check_folder, damaged, in_use

API_KEY_VARIABLE = "AGENTREC_QDRANT_API_KEY"

_Result = TypeVar("_Result")

_guard = threading.Lock()
_open_folders: dict[Path, QdrantConnection] = {}
_closings: dict[Path, Future[None]] = {}


class QdrantConnection:
    """A Qdrant client behind one worker thread.

    SQLite connections belong to one thread, and the event loop never waits for a disk or a
    server. Jobs run one after another, in the order in which they were given. Any thread and any
    event loop may give them.

    Args:
        address: Where it is, as failures name it.
        make: Makes the client; called on the worker thread.
        folder: The folder, if it is one.
        remote: Whether it is a server.
        secret: What must never be seen in the text of a failure.
        alone: Whether nobody else may use it until it is closed.
    """

    def __init__(
        self,
        address: str,
        make: Callable[[], QdrantClient],
        *,
        folder: Path | None = None,
        remote: bool = False,
        secret: str = "",
        alone: bool = False,
    ) -> None:
        self.address = address
        self.remote = remote
        self.alone = alone
        self.opened: dict[str, object] = {}
        self._make = make
        self._folder = folder
        self._secret = secret
        self._users = 1
        self._client: QdrantClient | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hint-store")

    @property
    def client(self) -> QdrantClient:
        """The client; only for the worker thread."""
        if self._client is None:
            self._client = self._make()
        return self._client

    def join(self) -> None:
        """Count one more user; only under the guard."""
        self._users += 1

    async def call(self, blocking: Callable[[], _Result]) -> _Result:
        """Have a job done by the worker; a cancelled wait leaves it running.

        Raises:
            StoreError: If it fails.
        """
        try:
            job = self._worker.submit(blocking)
        except RuntimeError as error:
            raise self.closed() from error
        try:
            return await finished(job)
        except StoreError:
            raise
        except Exception as error:
            raise self._failed(error) from (None if self._secret else error)

    def release(self) -> Future[None]:
        """Count one user less, and close after the last one.

        Returns:
            Done when everything that was begun is.
        """
        with _guard:
            self._users -= 1
            if self._users:
                return self._worker.submit(_nothing)
            closing = self._worker.submit(self._close)
            self._worker.shutdown(wait=False)
            if self._folder is not None:
                del _open_folders[self._folder]
                _closings[self._folder] = closing
            return closing

    def closed(self) -> StoreError:
        """The failure of a call after closing."""
        return StoreError(f"{self.address}: this knowledge base is closed; open it again")

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _failed(self, error: Exception) -> StoreError:
        text = f"{type(error).__name__}: {error}"
        if self._secret:
            text = text.replace(self._secret, "***")
        advice = "; is a Qdrant server there, and is the API key right?" if self.remote else ""
        return StoreError(
            f"{self.address}: the knowledge base failed: {clean_text(text, 200)}{advice}"
        )


async def finished(job: Future[_Result]) -> _Result:
    """Wait for a job of a worker; a cancelled wait leaves the job running."""
    return await asyncio.shield(asyncio.wrap_future(job))


async def connect_folder(path: Path | str, alone: bool = False) -> QdrantConnection:
    """Connect to an embedded Qdrant; one that is open in this process is shared.

    Nothing is opened before the first job needs it.

    Args:
        path: The folder.
        alone: Refuse to share it, now and until it is released.

    Raises:
        StoreError: If it is open in this process already and cannot be shared.
    """
    folder = await asyncio.to_thread(Path(path).resolve)
    with _guard:
        known = _open_folders.get(folder)
        if known is not None:
            if alone or known.alone:
                raise StoreError(
                    f"{path}: this knowledge base is open in this process; close it there first"
                )
            known.join()
            return known
        make = partial(_open_folder, Path(path), _closings.pop(folder, None))
        made = QdrantConnection(str(path), make, folder=folder, alone=alone)
        _open_folders[folder] = made
        return made


def connect_server(url: str) -> QdrantConnection:
    """Connect to a Qdrant server, with the key in ``AGENTREC_QDRANT_API_KEY`` if there is one.

    Args:
        url: Its address, with scheme and port.
    """
    key = os.environ.get(API_KEY_VARIABLE, "")
    parts = urlsplit(url)
    # Whoever puts a password into an address does not want to read it in a message.
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def make() -> QdrantClient:
        return QdrantClient(url=url, api_key=key or None, check_compatibility=False)

    return QdrantConnection(shown, make, remote=True, secret=key)


def connect_memory() -> QdrantConnection:
    """A Qdrant in memory, gone with the connection."""
    return QdrantConnection("in memory", partial(QdrantClient, ":memory:"))


def _open_folder(folder: Path, previous: Future[None] | None) -> QdrantClient:
    if previous is not None:
        wait([previous])
    try:
        check_folder(folder)
        return QdrantClient(path=str(folder))
    except StoreError:
        raise
    except RuntimeError as error:
        raise in_use(folder) from error
    except Exception as error:
        raise damaged(folder, error) from error


def _nothing() -> None:
    """A job that is done when all jobs before it are."""
