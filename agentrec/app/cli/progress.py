"""Progress bars in the console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

from agentrec.progress import ProgressDisplay, Report


class ConsoleProgress(ProgressDisplay):
    """Bars on a terminal; one line at the end of each phase elsewhere.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print a line."""
        # As Text, not as a string: rich would turn ":name:" into an emoji.
        self._console.print(Text(line))

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        """Show one phase; see ``ProgressDisplay.phase``."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            # Without a terminal rich prints the bar once, at its end.
            transient=False,
        )
        with progress:
            task = progress.add_task(f"{title:<36}", total=total)
            yield lambda done, of: progress.update(task, completed=done, total=of)
