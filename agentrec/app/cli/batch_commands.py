"""The command ``agentrec batch``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from agentrec.app.cli.options import (
    ConfigOption,
    DataOption,
    DebugOption,
    JsonOption,
    cli_overrides,
    exit_with_error,
)
from agentrec.errors import InputError

Choice = TypeVar("Choice", bound=str)

INCOMPLETE = 3
"""Exit code where the batch went through, and some row has no result."""


def batch(
    sessions: Annotated[
        Path, typer.Argument(help="Sessions with candidates: .jsonl, .csv or .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; resumes a batch in it.")],
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
        from agentrec.app.batch.options import BatchOptions
        from agentrec.app.batch.planning import tell_batch_plan
        from agentrec.app.batch.work import run_batch
        from agentrec.app.reports.batch_tables import print_summary
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
        import_embedded_model(settings.llm)
        summary = asyncio.run(run_batch(settings, options, console))
        if json_:
            sys.stdout.write(summary.model_dump_json() + "\n")
        else:
            print_summary(summary, out, console)
    if not summary.is_clean:
        raise typer.Exit(INCOMPLETE)


def _known(given: str, field: str, *choices: Choice) -> Choice:
    for choice in choices:
        if given == choice:
            return choice
    raise InputError(f"{given!r} is neither {' nor '.join(choices)}", field=field)
