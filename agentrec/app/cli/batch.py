"""The command ``agentrec batch``, its progress bar, and the summary at its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agentrec.app.cli.options import (
    ConfigOption,
    DataOption,
    DebugOption,
    JsonOption,
    cli_overrides,
    exit_with_error,
)
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.errors import InputError

if TYPE_CHECKING:
    # Loaded by the command itself: it takes seconds.
    from agentrec.batch.budget_split import BatchEngine
    from agentrec.batch.progress import BatchProgress
    from agentrec.batch.run_batch import BatchSummary
    from agentrec.llm.cost.usage import PriceTable

Choice = TypeVar("Choice", bound=str)

INCOMPLETE = 3
"""Exit code if the batch finished, and some row has no result."""
_REFRESH_SECONDS = 0.2


def batch(
    sessions: Annotated[
        Path, typer.Argument(help="Sessions with candidates: .jsonl, .csv or .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; resumes a batch in it.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Run whose model, hints and policy are used. Default: runs/demo."),
    ] = None,
    result_format: Annotated[
        str, typer.Option("--format", help="Format of the results: parquet or jsonl.")
    ] = "parquet",
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Most model calls at a time. Default: as in the run."),
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Most model calls a minute. Default: as in the run.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(help="Most tokens a minute. Default: as in the run.")
    ] = None,
    limit_tokens: Annotated[
        int | None, typer.Option(help="Budget: most tokens over all attempts of this batch.")
    ] = None,
    limit_cost: Annotated[
        float | None,
        typer.Option(help="Budget: most money over all attempts, by the prices in the settings."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Seconds until a session is given up. Default: never."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry sessions that failed before.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Resume the batch in the folder.")
    ] = True,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Number of workers. More than one need Ray: agentrec[ray]."),
    ] = 1,
    engine: Annotated[
        str | None,
        typer.Option(
            help="local: this process; ray: the cluster at RAY_ADDRESS, or one on this machine."
            " Default: ray if there are several workers."
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of a new batch. Default: one per worker."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the cost without calling the model.")
    ] = False,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Recommend for every session of a file, exactly once, across any interruption.

    Stop with Ctrl-C; the same command resumes. Exit code 3: finished, but some sessions failed
    (failures.jsonl, --retry-failed) or some rows were rejected (rejected.jsonl).
    """
    with exit_with_error(debug):
        from agentrec.app.learning.cost_estimate import estimate_batch
        from agentrec.app.reports.tables import show
        from agentrec.batch.partitions import BatchOptions
        from agentrec.batch.run_batch import run_batch
        from agentrec.named_components import import_embedded_model
        from agentrec.runs.open_run import settings_of_run

        if time_limit is not None and not time_limit > 0:
            raise InputError(f"must be above 0, not {time_limit:g}", field="time-limit")
        given = cli_overrides(
            run=run,
            data=data,
            concurrency=concurrency,
            limits={
                "requests_per_minute": requests_per_minute,
                "tokens_per_minute": tokens_per_minute,
            },
            budget={"tokens": limit_tokens, "money": limit_cost},
        )
        settings = settings_of_run(given, config)
        console = Console(stderr=json_)
        options = BatchOptions(
            sessions=sessions,
            out=out,
            result_format=_one_of(result_format, "format", "parquet", "jsonl"),
            retry_failed=retry_failed,
            resume=resume,
            time_limit=time_limit,
            workers=workers,
            engine=None if engine is None else _one_of(engine, "engine", "local", "ray"),
            partitions=partitions,
        )
        if dry_run:
            display = ConsoleProgress(console)
            show(asyncio.run(estimate_batch(settings, options, display)), console)
            return
        import_embedded_model(settings.llm)
        bar = _ProgressBar(console, settings.prices.table())
        summary = asyncio.run(run_batch(settings, options, ConsoleProgress(console), bar.shown))
        if json_:
            sys.stdout.write(summary.model_dump_json() + "\n")
        else:
            print_summary(summary, out, console)
    if not summary.is_complete:
        raise typer.Exit(INCOMPLETE)


def print_summary(summary: BatchSummary, out: Path, console: Console) -> None:
    """Print what a batch came to, and where its files are."""
    from agentrec.batch.session_log_file import FAILURES, REJECTED, RESULTS

    lines = [f"Sessions with a result: {summary.done:,} ({out / RESULTS})"]
    if summary.failed:
        lines.append(
            f"Failed sessions: {_counts(summary.failed)} ({out / FAILURES});"
            " --retry-failed tries them again"
        )
    if summary.rejected:
        lines.append(f"Rejected rows: {_counts(summary.rejected)} ({out / REJECTED})")
    if summary.attempted:
        rate = f" ({summary.attempted / summary.seconds:,.1f}/s)" if summary.seconds else ""
        lines.append(
            f"This attempt: {summary.attempted:,} sessions in {summary.seconds:,.1f} s{rate}"
        )
    if summary.latency:
        latency = ", ".join(f"{name} {value:.2f}" for name, value in summary.latency.items())
        lines.append(f"Seconds per session, waiting included: {latency}")
    usage = summary.usage
    if usage.calls:
        money = "" if usage.money is None else f", {usage.money:,.4f} {summary.currency}".rstrip()
        lines.append(
            f"All attempts: {usage.calls:,} calls, {usage.failures:,} of them failed,"
            f" {usage.input_tokens:,} tokens read, {usage.output_tokens:,} written{money}"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class _ProgressBar:
    """Shows the progress of a batch: one line, renewed on a terminal, else printed at the end.

    Args:
        console: Where to print.
        prices: How money is shown.
    """

    def __init__(self, console: Console, prices: PriceTable) -> None:
        self._console = console
        self._prices = prices

    @asynccontextmanager
    async def shown(self, engine: BatchEngine, rows: int | None) -> AsyncIterator[None]:
        """Show an engine's progress during the block.

        Args:
            engine: Works on the batch.
            rows: How many rows there are; ``None`` if that is not known.
        """
        bar = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.completed:,.0f}/{task.fields[rows]}"),
            TextColumn("{task.fields[details]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        shown_rows = "?" if rows is None else f"{rows:,}"
        task = bar.add_task("", total=rows, details="", rows=shown_rows)

        async def refresh() -> None:
            progress = await engine.progress()
            details = self._details(progress, bar.tasks[0].elapsed or 0.0)
            bar.update(task, completed=progress.rows, details=details)

        async def keep_refreshing() -> None:
            while True:
                await asyncio.sleep(_REFRESH_SECONDS)
                await refresh()

        with bar:
            refreshing = asyncio.create_task(keep_refreshing())
            try:
                yield
            finally:
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)
                await refresh()

    def _details(self, progress: BatchProgress, seconds: float) -> str:
        details = [f"{progress.done:,} done", f"{sum(progress.failed.values()):,} failed"]
        if progress.rejected:
            details.append(f"{sum(progress.rejected.values()):,} rejected")
        if seconds:
            details.append(f"{progress.attempted / seconds:,.1f}/s")
        details.append(f"{progress.tokens:,} tokens")
        if progress.money is not None:
            details.append(self._prices.shown(progress.money))
        return ", ".join(details)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1])
    )


def _one_of(given: str, field: str, *choices: Choice) -> Choice:
    for choice in choices:
        if given == choice:
            return choice
    raise InputError(f"{given!r} is not {' or '.join(choices)}", field=field)
