"""How a batch goes, for who watches it: done, failed, how fast, for how much, how long still."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agentrec.app.cli.cli_overrides import cli_overrides, without_none
from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.app.cli.policy_commands import ConfigOption, DataOption, JsonOption
from agentrec.batch.budget_split import BatchEngine
from agentrec.batch.progress import Standing
from agentrec.batch.run_batch import BatchSummary
from agentrec.batch.session_log_file import RESULTS
from agentrec.errors import InputError
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


def print_summary(summary: BatchSummary, out: Path, console: Console) -> None:
    """Print what came of a batch, and where it lies."""
    rate = summary.attempted / summary.seconds if summary.seconds else 0.0
    latency = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in summary.latency.items())
    lines = [f"Sessions with a result: {summary.done:,}: {out / RESULTS}"]
    if summary.failed:
        lines.append(
            f"Failed: {_told_batch_tables(summary.failed)}: {out / 'failures.jsonl'}; --retry-failed tries again"
        )
    if summary.rejected:
        lines.append(
            f"Rows that are no sessions: {_told_batch_tables(summary.rejected)}: {out / 'rejected.jsonl'}"
        )
    if summary.attempted:
        took = f"; one with a result took {latency}, its wait for a call counted" if latency else ""
        lines.append(
            f"This time {summary.attempted:,} in {summary.seconds:,.1f} s ({rate:,.1f}/s){took}"
        )
    usage = summary.usage
    if usage.calls:
        money = "" if usage.money is None else f", {usage.money:,.4f} {summary.currency}".rstrip()
        lines.append(
            f"In all: {usage.calls:,} calls, {usage.failures:,} of them failed,"
            f" {usage.input_tokens:,} tokens read, {usage.output_tokens:,} written{money}"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _told_batch_tables(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1])
    )


Choice = TypeVar("Choice", bound=str)

INCOMPLETE = 3
"""Exit code where the batch went through, and some row has no result."""


def batch(
    sessions: Annotated[
        Path, typer.Argument(help="Sessions with candidates: .jsonl, .csv or .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; a batch there goes on.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Run whose model, hints and policy are used. Default: runs/demo."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="How results are written: parquet or jsonl.")
    ] = "parquet",
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Most sessions, and calls, at a time. Default: as the run."),
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Most model calls a minute. Default: as the run.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(help="Most tokens a minute. Default: as the run.")
    ] = None,
    limit_tokens: Annotated[
        int | None, typer.Option(help="Budget: most tokens over all attempts of this batch.")
    ] = None,
    limit_cost: Annotated[
        float | None,
        typer.Option(help="Budget: most money over all attempts, by the prices in the settings."),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Give a session up after so many seconds. Default: never.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try sessions again that failed before.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a batch that is there.")
    ] = True,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that work on it; limits are divided among them.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(help="What drives workers: local, or ray (agentrec[ray], RAY_ADDRESS)."),
    ] = "local",
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of a new batch. Default: as many as workers."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what the batch would cost and ask nothing.")
    ] = False,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Recommend for all sessions of a file, each once, and go on after any interruption.

    Ctrl-C stops it; the same command goes on where it was. Exit code 3: all rows were gone
    through, and some failed (failures.jsonl, --retry-failed) or were no sessions (rejected.jsonl).
    """
    try:
        from agentrec.app.cli.batch import print_summary
        from agentrec.app.learning.batch_plan import tell_batch_plan
        from agentrec.app.run.reopen_run import settings_of_run
        from agentrec.assembly import import_for_model
        from agentrec.batch.partitions import BatchOptions
        from agentrec.batch.run_batch import run_batch

        if time_limit is not None and not time_limit > 0:
            raise InputError(f"is above 0, not {time_limit:g}", field="time-limit")
        given = cli_overrides(run, data, None, None, concurrency)
        given["limits"] |= {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        given["budget"] = {"tokens": limit_tokens, "money": limit_cost}
        settings, _ = settings_of_run(without_none(given), config)
        console = Console(stderr=json_)
        options = BatchOptions(
            sessions=sessions,
            out=out,
            form=_known(form, "format", "parquet", "jsonl"),
            retry_failed=retry_failed,
            resume=resume,
            time_limit=time_limit,
            workers=workers,
            engine=_known(engine, "engine", "local", "ray"),
            partitions=partitions,
        )
        if dry_run:
            asyncio.run(tell_batch_plan(settings, options, console))
            return
        import_for_model(settings.llm)
        summary = asyncio.run(run_batch(settings, options, console))
        if json_:
            sys.stdout.write(summary.model_dump_json() + "\n")
        else:
            print_summary(summary, out, console)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)
    if not summary.is_clean:
        raise typer.Exit(INCOMPLETE)


def _known(given: str, field: str, *choices: Choice) -> Choice:
    for choice in choices:
        if given == choice:
            return choice
    raise InputError(f"{given!r} is neither {' nor '.join(choices)}", field=field)
