"""Progress that people can watch, and the one way in which long blocking work is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Result = TypeVar("Result")
Report = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class StoppedError(Exception):
    """Raised inside blocking work when the person at the keyboard wants it to end."""


class ProgressDisplay:
    """Bars on a terminal; a line at the end of each phase elsewhere.

    Args:
        console: Where to show.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Show a line that stays."""
        # As Text, and not as a string, lest ":name:" become a picture.
        self._console.print(Text(line))

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        """Show one phase; the report may be called from any thread.

        Args:
            title: What is being done.
            total: How much there is, where it is known beforehand.
        """
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            # Elsewhere than on a terminal rich prints the bar once, when it ends.
            transient=False,
        )
        with progress:
            task = progress.add_task(f"{title:<36}", total=total)
            yield lambda done, of: progress.update(task, completed=done, total=of)

    @contextmanager
    def counting(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """Show one phase of equal pieces; call what is given once a piece."""
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
        work: Called with a check that it has to call now and then; the check raises once the
            caller was cancelled, and the work gets the chance to keep what it has.
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
