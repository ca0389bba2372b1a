"""Look at a Qdrant folder before the Qdrant client opens it.

The client's embedded mode keeps every point as a pickle and unpickles all of them while it opens
a folder, before it takes the folder's lock. A pickle can name any function to call, so a
knowledge base that came from someone else could run code here. This check reads the same pickles
with a reader that knows one class, the client's own point, and refuses everything else. It
also turns damage and a second opener into one clear line each.
"""

from __future__ import annotations

import io
import json
import pickle
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import portalocker

from agentrec.catalog import clean_text
from agentrec.errors import StoreError

_POINT_CLASS = ("qdrant_client.http.models.models", "PointStruct")


class _PointReader(pickle.Unpickler):
    """Unpickles the client's points and refuses every other class and function."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        """Resolve the one name that a stored point needs."""
        if (module_name, global_name) != _POINT_CLASS:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def check_folder(folder: Path) -> None:
    """Make sure that a folder is free, whole and harmless to open.

    A folder that does not exist yet, or is empty, passes.

    Args:
        folder: Where the Qdrant client keeps, or will keep, its files.

    Raises:
        StoreError: If another opener holds the folder, its files are damaged, or a stored point
            is anything but a point.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: a knowledge base is a folder, and this is a file")
    _check_free(folder)
    _check_description(folder)
    collections = (folder / "collection").resolve()
    for storage in sorted(collections.rglob("storage.sqlite")):
        _check_points(storage, folder)


def collections_in(folder: Path) -> list[str]:
    """Names of the collections in a folder, whoever has it open; none if there is no folder.

    Raises:
        StoreError: If the folder cannot be read.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: a knowledge base is a folder, and this is a file")
    return list(_description(folder))


def in_use(folder: Path) -> StoreError:
    """The failure of a second opener in another process."""
    return StoreError(
        f"{folder}: this knowledge base is open in another process; close it there, use another "
        "folder, or keep it in a Qdrant server, which many processes can use at once"
    )


def damaged(address: object, reason: object) -> StoreError:
    """The failure of a knowledge base that cannot be read.

    Args:
        address: Its folder, or the server it is on.
        reason: Why.
    """
    return StoreError(
        f"{address}: this knowledge base cannot be read ({clean_text(str(reason), 200)}); "
        "restore it from a copy, or use a new one"
    )


def _check_free(folder: Path) -> None:
    lock = folder / ".lock"
    if not lock.is_file():
        return
    try:
        with lock.open("r+") as held:
            portalocker.lock(
                held, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            )
            portalocker.unlock(held)
    except portalocker.exceptions.LockException as error:
        raise in_use(folder) from error
    except OSError as error:
        raise damaged(folder, error) from error


def _check_description(folder: Path) -> None:
    description = folder / "meta.json"
    try:
        empty = description.is_file() and not description.stat().st_size
        if empty and not (folder / "collection").exists():
            # What a kill in the middle of the very first opening leaves: nothing was stored yet.
            description.unlink()
    except OSError as error:
        raise damaged(folder, f"meta.json: {error}") from error
    _description(folder)


def _description(folder: Path) -> Mapping[str, object]:
    """What the client noted about each collection."""
    description = folder / "meta.json"
    if not description.is_file():
        return {}
    try:
        text = description.read_text(encoding="utf-8")
        if not text and not (folder / "collection").exists():
            return {}
        known = json.loads(text)
    except (OSError, ValueError) as error:
        raise damaged(folder, f"meta.json: {error}") from error
    if not isinstance(known, dict) or not isinstance(known.get("collections"), dict):
        raise damaged(folder, "meta.json describes no collections")
    collections: Mapping[str, object] = known["collections"]
    return collections


def _check_points(storage: Path, folder: Path) -> None:
    # Opened for writing: after a kill, SQLite has to roll back the half-done transaction.
    address = f"{storage.as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            for (point,) in database.execute("SELECT point FROM points"):
                _PointReader(io.BytesIO(point)).load()
    except pickle.UnpicklingError as error:
        reason = clean_text(str(error), 200)
        raise StoreError(
            f"{folder}: a stored point is not a plain point ({reason}); the file is damaged or "
            "was made to run code when it is opened: use a folder from a source you trust"
        ) from error
    except Exception as error:
        # Damaged bytes make the unpickler raise nearly anything.
        raise damaged(folder, f"{storage.name}: {error}") from error
