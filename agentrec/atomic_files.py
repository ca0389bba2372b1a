"""Write a file so that a reader sees the old or the new content, never half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; create missing parent folders.

    The bytes reach the disk under a temporary name in the same folder before the rename, so a
    process killed at any point leaves the previous file as it was.

    Args:
        path: The file to write.
        content: All of its bytes.

    Raises:
        OSError: The folder cannot be written.
    """
    write_pieces_atomically(path, (content,))


def write_pieces_atomically(path: Path, pieces: Iterable[bytes]) -> None:
    """Write like ``write_atomically``, content that need not fit into memory.

    Args:
        path: The file to write.
        pieces: Its bytes, in order; an exception while iterating leaves the previous file.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives permissions to the owner alone; this file gets the usual ones.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def holds_nothing(folder: Path) -> bool:
    """Return whether a folder holds nothing but temporary files of killed writers.

    Raises:
        OSError: It is not a folder, or cannot be read.
    """
    names = [path.name for path in folder.iterdir()]
    return all(name.startswith(".") and name.endswith(".tmp") for name in names)


def _umask() -> int:
    """Return the process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
