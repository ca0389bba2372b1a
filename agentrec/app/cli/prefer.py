"""The commands about preference pairs: ``agentrec prefer collect``, ``stats`` and ``export``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agentrec.app.cli.cli_overrides import cli_overrides, without_none
from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.app.cli.policy import (
    ConcurrencyOption,
    ConfigOption,
    DataOption,
    JsonOption,
)

prefer_app = typer.Typer(
    help="Preference pairs: texts that helped a recommender more, and less.", no_args_is_help=True
)

PreferRunOption = Annotated[
    Path | None,
    typer.Option(help="Run folder; one that is not there is made. Default: runs/demo."),
]
LlmOption = Annotated[
    str | None,
    typer.Option(help="Chat model as PROVIDER:MODEL. Default: that of the run, or the embedded."),
]


@prefer_app.command()
def collect(
    samples: Annotated[int | None, typer.Option(min=2, help="Texts a session. Default: 6.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="At which texts are drawn. Default: 0.8.")
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Most sessions to collect from. Default: 1000.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Recommender told the texts: sasrec or gru4rec.")
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(help="Model that writes, PROVIDER:MODEL, if not the run's; it has its pairs."),
    ] = None,
    run: PreferRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    llm: LlmOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of everything that is drawn. Default: 0.")
    ] = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Have texts written, reward them, and keep the best and the worst of each session.

    Ctrl-C stops it; the same command goes on and ends with the same file, byte for byte.
    """
    try:
        from agentrec.app.preferences.run_collection import collect_in_run, run_settings

        prefer = {
            "samples": samples,
            "temperature": temperature,
            "max_sessions": max_sessions,
            "backbone": backbone,
            "writer": writer,
        }
        given = cli_overrides(run, data, llm, seed, concurrency) | {"prefer": prefer}
        asyncio.run(collect_in_run(run_settings(without_none(given), config), Console()))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@prefer_app.command()
def stats(
    pairs: Annotated[
        Path | None, typer.Argument(help="File of pairs. Default: that of the run.")
    ] = None,
    run: PreferRunOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a collection of pairs is like: kinds, gaps, lengths, and why sessions have none."""
    try:
        from agentrec.app.preferences.run_collection import pairs_file, statistics_of
        from agentrec.app.reports.preference_report import print_statistics

        found = statistics_of(pairs_file(run, pairs))
        if json_:
            sys.stdout.write(found.model_dump_json(ensure_ascii=True) + "\n")
        else:
            print_statistics(found, Console())
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@prefer_app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .jsonl or .parquet.")],
    pairs: Annotated[
        Path | None, typer.Option(help="File of pairs. Default: that of the run.")
    ] = None,
    form: Annotated[
        str, typer.Option(help="conversational or plain, as TRL takes them.")
    ] = "conversational",
    run: PreferRunOption = None,
    debug: DebugOption = False,
) -> None:
    """Write pairs as TRL and `datasets.load_dataset` read them, with a data card beside them."""
    try:
        from agentrec.app.preferences.run_collection import export_pairs, pairs_file

        count = export_pairs(pairs_file(run, pairs), out, form)
        Console().print(
            f"{count} pairs are in {out}, and what they are in {out.parent / 'README.md'}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)
