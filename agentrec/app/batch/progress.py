"""How a batch goes, for who watches it: done, failed, how fast, for how much, how long still."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agentrec.app.batch.running import BatchTally
from agentrec.app.run_parts import RunParts

_EVERY = 0.1
"""Seconds between two looks at how far it is."""


class BatchProgress:
    """A line that is renewed on a terminal, and printed once, at the end, elsewhere.

    Args:
        console: Where to show it.
        total: How many rows there are; ``None`` if that is not known.
        parts: The run whose model is asked.
    """

    def __init__(self, console: Console, total: int | None, parts: RunParts) -> None:
        self._parts = parts
        self._begun_with = parts.journal.tokens
        self._tally: BatchTally | None = None
        self._shown = 0.0
        self._progress = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.completed:,.0f}/{task.fields[of]}"),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        of = "?" if total is None else f"{total:,}"
        self._task: TaskID = self._progress.add_task("", total=total, told="", of=of)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show how it ended."""
        if self._tally is not None:
            self._show(self._tally)
        self._progress.stop()

    def update(self, tally: BatchTally) -> None:
        """Tell how far it is; cheap enough to be called for every row."""
        self._tally = tally
        now = perf_counter()
        if now - self._shown >= _EVERY:
            self._shown = now
            self._show(tally)

    def _show(self, tally: BatchTally) -> None:
        tokens = sum(self._parts.journal.tokens.values()) - sum(self._begun_with.values())
        told = [f"{tally.done:,} done", f"{tally.failed.total():,} failed"]
        if tally.rejected:
            told.append(f"{tally.rejected.total():,} rejected")
        seconds = self._progress.tasks[0].elapsed or 0.0
        if seconds:
            told.append(f"{(tally.done + tally.failed.total()) / seconds:,.1f}/s")
        told.append(f"{tokens:,} tokens")
        usage = self._parts.components.model.usage.total
        if usage.money is not None:
            told.append(self._parts.settings.prices.table().shown(usage.money))
        self._progress.update(self._task, completed=tally.rows, told=", ".join(told))
