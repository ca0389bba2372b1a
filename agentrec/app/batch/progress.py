"""How a batch goes, for who watches it: done, failed, how fast, for how much, how long still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agentrec.app.batch.engine import BatchEngine
from agentrec.app.batch.standing import Standing
from agentrec.llm.cost.prices import PriceTable

_EVERY = 0.2
"""Seconds between two looks at how far it is."""


@asynccontextmanager
async def shown_progress(
    engine: BatchEngine, total: int | None, console: Console, prices: PriceTable
) -> AsyncIterator[None]:
    """Show how far a batch is while the block lasts, and how it ended.

    A line that is renewed on a terminal, and printed once, at the end, elsewhere.

    Args:
        engine: What drives it.
        total: How many rows there are; ``None`` if that is not known.
        console: Where to show it.
        prices: How money is shown.
    """
    progress = Progress(
        BarColumn(bar_width=12),
        TextColumn("{task.completed:,.0f}/{task.fields[of]}"),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    of = "?" if total is None else f"{total:,}"
    task: TaskID = progress.add_task("", total=total, told="", of=of)

    async def show() -> None:
        standing = await engine.standing()
        seconds = progress.tasks[0].elapsed or 0.0
        progress.update(task, completed=standing.rows, told=_told(standing, seconds, prices))

    async def keep_showing() -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await show()

    with progress:
        showing = asyncio.create_task(keep_showing())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            await show()


def _told(standing: Standing, seconds: float, prices: PriceTable) -> str:
    told = [f"{standing.done:,} done", f"{sum(standing.failed.values()):,} failed"]
    if standing.rejected:
        told.append(f"{sum(standing.rejected.values()):,} rejected")
    if seconds:
        told.append(f"{standing.attempted / seconds:,.1f}/s")
    told.append(f"{standing.tokens:,} tokens")
    if standing.money is not None:
        told.append(prices.shown(standing.money))
    return ", ".join(told)
