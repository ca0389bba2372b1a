"""One process at a time makes what all of them can use afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import portalocker

_LOOK = 0.2
"""Seconds between two tries."""


@contextmanager
def sole_maker(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Have a turn that no other process has meanwhile; blocks until it is had.

    Args:
        file: What is locked; made where it is missing, and left there.
        on_wait: Called now and then while waiting. Raising in it gives up.

    Raises:
        OSError: If the file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    with file.open("ab") as lock:
        while True:
            try:
                # Let go of by the operating system when the process ends, however it ends.
                portalocker.lock(lock, flags)
                break
            except portalocker.exceptions.LockException:
                on_wait()
                time.sleep(_LOOK)
        yield
