"""Commands about preference pairs: ``agentrec prefer collect``, ``stats`` and ``export``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agentrec.app.cli.options import (
    ConcurrencyOption,
    ConfigOption,
    DataOption,
    DebugOption,
    JsonOption,
    LlmOption,
    NewRunOption,
    SeedOption,
    cli_overrides,
    exit_with_error,
    print_line,
)

prefer_app = typer.Typer(
    help="Collect pairs of preference texts, a better and a worse one.",
    no_args_is_help=True,
)


@prefer_app.command()
def collect(
    samples: Annotated[int | None, typer.Option(min=2, help="Texts per session; 6.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature of the texts. Default: 0.8.")
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Most sessions to collect from. Default: 1000.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Recommender that receives the texts: sasrec or gru4rec.")
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(help="Model that writes the texts, as PROVIDER:MODEL. Default: the run's."),
    ] = None,
    run: NewRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    llm: LlmOption = None,
    seed: SeedOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Write preference texts, score them, and keep the best and the worst of each session.

    Stop with Ctrl-C; the same command resumes, and the file is the same, byte for byte.
    """
    with exit_with_error(debug):
        from agentrec.app.preferences.run_collection import collect_in_run, run_settings

        prefer = {
            "samples": samples,
            "temperature": temperature,
            "max_sessions": max_sessions,
            "backbone": backbone,
            "writer": writer,
        }
        given = cli_overrides(
            run=run, data=data, llm=llm, seed=seed, concurrency=concurrency, prefer=prefer
        )
        asyncio.run(collect_in_run(run_settings(given, config), Console()))


@prefer_app.command()
def stats(
    pairs: Annotated[Path | None, typer.Argument(help="File of pairs. Default: the run's.")] = None,
    run: NewRunOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Summarise a collection of pairs: kinds, gaps, lengths, and why some sessions have none."""
    with exit_with_error(debug):
        from agentrec.app.preferences.run_collection import pairs_file, statistics_of
        from agentrec.app.reports.preference_report import statistics_report
        from agentrec.app.reports.tables import show

        found = statistics_of(pairs_file(run, pairs))
        if json_:
            sys.stdout.write(found.model_dump_json(ensure_ascii=True) + "\n")
        else:
            show(statistics_report(found), Console())


@prefer_app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .jsonl or .parquet.")],
    pairs: Annotated[Path | None, typer.Option(help="File of pairs. Default: the run's.")] = None,
    form: Annotated[
        str, typer.Option(help="Format for TRL: conversational or plain.")
    ] = "conversational",
    run: NewRunOption = None,
    debug: DebugOption = False,
) -> None:
    """Write pairs as TRL and `datasets.load_dataset` read them, with a data card beside them."""
    with exit_with_error(debug):
        from agentrec.app.preferences.run_collection import export_pairs, pairs_file

        count = export_pairs(pairs_file(run, pairs), out, form)
        card = out.parent / "README.md"
        print_line(f"{count} pairs are in {out}; {card} describes them", Console())
