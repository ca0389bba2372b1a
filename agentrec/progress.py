"""Progress of long work, and the one way in which blocking work is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")
Report = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class StoppedError(Exception):
    """Raised inside blocking work when the person at the keyboard wants it to end."""


class ProgressDisplay:
    """Shows nothing. Subclass it to show progress in a console, a log or a notebook."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        """Show one phase; the report may be called from any thread.

        Args:
            title: What is being done.
            total: How much there is, if known beforehand.
        """
        yield lambda done, of: None

    @contextmanager
    def counting(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """Show one phase of equal steps; call the yielded function once per step."""
        with self.phase(title, total) as report:
            done = 0

            def advance() -> None:
                nonlocal done
                done += 1
                report(done, total)

            yield advance


async def run_blocking(work: Callable[[Callable[[], None]], Result]) -> Result:
    """Run blocking work in a thread, so that cancelling really ends it.

    Args:
        work: Called with a check that it calls now and then. The check raises ``StoppedError``
            once the caller was cancelled, so that the work can save what it has.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise StoppedError

    task = asyncio.ensure_future(asyncio.to_thread(work, check))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        raise
