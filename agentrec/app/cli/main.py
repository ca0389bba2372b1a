"""The command line."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agentrec.app.cli.batch import batch
from agentrec.app.cli.dpo import dpo_app
from agentrec.app.cli.kb import kb_app
from agentrec.app.cli.lm import lm_app
from agentrec.app.cli.options import (
    ConfigOption,
    DebugOption,
    SeedOption,
    cli_overrides,
    exit_with_error,
    print_line,
)
from agentrec.app.cli.policy import policy_app
from agentrec.app.cli.prefer import prefer_app
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.cli.rewardmodel import rewardmodel_app
from agentrec.data.negatives import Negatives
from agentrec.errors import InputError

app = typer.Typer(
    name="agentrec",
    help="Makes an LLM recommend better from its own mistakes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Fetch public data sets.", no_args_is_help=True)
app.command()(batch)
app.add_typer(data_app, name="data")
app.add_typer(lm_app, name="lm")
app.add_typer(kb_app, name="kb")
app.add_typer(policy_app, name="policy")
app.add_typer(prefer_app, name="prefer")
app.add_typer(rewardmodel_app, name="rewardmodel")
app.add_typer(dpo_app, name="dpo")

_stdout = Console()


def _show_version(wanted: bool) -> None:
    if wanted:
        _stdout.print(f"agentrec {importlib.metadata.version('agentrec')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Makes an LLM recommend better from its own mistakes."""


@app.command()
def demo(
    config: ConfigOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder in the neutral format. Default: MovieLens-100K."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder; resumes an existing run. Default: runs/demo."),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            help="Chat model as PROVIDER:MODEL, such as openai:gpt-4o-mini; its key comes"
            " from the environment. Default: the embedded model, trained on first use."
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Text embeddings: minilm, hashed or PROVIDER:MODEL. Default: minilm."),
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(
            help="How to sample candidates for sessions without: popularity or uniform."
            " Default: popularity."
        ),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder with your own prompts.")] = None,
    seed: SeedOption = None,
    max_hints: Annotated[
        int | None, typer.Option(min=1, help="Most hints in the knowledge base. Default: 20.")
    ] = None,
    max_explored: Annotated[
        int | None,
        typer.Option(min=1, help="Most training sessions to search for errors. Default: 300."),
    ] = None,
    max_rewarded: Annotated[
        int | None,
        typer.Option(min=1, help="Most training sessions to measure hints on. Default: 1500."),
    ] = None,
    num_probes: Annotated[
        int | None,
        typer.Option(
            min=0, help="Other sessions on which a hint has to prove itself. Default: 64."
        ),
    ] = None,
    lm_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training steps of the embedded model; fewer are faster and worse."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Recommender by item ids to compare with: sasrec, gru4rec or none."
            " Default: sasrec."
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Kind of hint policy: scoring_ppo, categorical_ppo, linucb, thompson,"
            " value_regression, best_single, nearest, random, no_hint. Default: scoring_ppo."
        ),
    ] = None,
    halving: Annotated[
        bool | None,
        typer.Option(
            "--halving/--no-halving",
            help="Try a few hints on each training session instead of all. Default: all.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Most model calls at a time. Default: 64.")
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Most model calls a minute. Default: no limit.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(help="Most tokens a minute. Default: no limit.")
    ] = None,
    limit_tokens: Annotated[
        int | None,
        typer.Option(help="Budget: most tokens over all attempts of the run. Default: no limit."),
    ] = None,
    limit_cost: Annotated[
        float | None,
        typer.Option(
            help="Budget: most money over all attempts, at the prices in the settings file."
            " Default: no limit."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the cost without calling the model.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Run the closed loop on real sessions and show what it gains.

    A model recommends for training sessions, reflects on its errors and leaves hints; a policy
    learns which hint helps which session; later sessions show whether it does. Stop with Ctrl-C at
    any time; the same command resumes.
    """
    with exit_with_error(debug):
        # Imported here, because it takes seconds in which people press Ctrl-C too.
        from agentrec.app.learning.cost_estimate import estimate_run
        from agentrec.app.learning.demo import run_demo
        from agentrec.app.reports.tables import show
        from agentrec.named_components import import_embedded_model
        from agentrec.settings.sources import load_settings

        given = cli_overrides(
            run=run,
            data=data,
            llm=llm,
            seed=seed,
            concurrency=concurrency,
            embeddings=embeddings,
            negatives=negatives,
            prompts=prompts,
            max_hints=max_hints,
            max_explored=max_explored,
            max_rewarded=max_rewarded,
            num_probes=num_probes,
            lm_steps=lm_steps,
            backbone=backbone,
            policy={"kind": policy, "halving": halving},
            limits={
                "requests_per_minute": requests_per_minute,
                "tokens_per_minute": tokens_per_minute,
            },
            budget={"tokens": limit_tokens, "money": limit_cost},
        )
        settings, file = load_settings(given, config)
        if file is not None:
            print_line(f"Settings from {file}", _stdout)
        if dry_run:
            show(asyncio.run(estimate_run(settings, ConsoleProgress(_stdout))), _stdout)
        else:
            import_embedded_model(settings.llm)
            asyncio.run(run_demo(settings, _stdout))


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the data set: ml-100k.")],
    zip_file: Annotated[
        Path | None,
        typer.Option("--zip", help="A GroupLens ml-100k.zip to read instead of downloading one."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the sessions to, in the neutral format.")
    ] = None,
    negatives: Annotated[
        str, typer.Option(help="How to sample candidates: popularity or uniform.")
    ] = "popularity",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    debug: DebugOption = False,
) -> None:
    """Fetch a public data set and cut it into sessions."""
    with exit_with_error(debug):
        from agentrec.data import load_movielens, write_folder

        if name != "ml-100k":
            raise InputError(f"{name!r} is not a known data set; use ml-100k", field="name")
        dataset = load_movielens(negatives=_negatives(negatives), seed=seed, zip_path=zip_file)
        sizes = ", ".join(f"{len(sessions)} {split}" for split, sessions in dataset.splits())
        _stdout.print(
            f"{dataset.name}: {len(dataset.catalog)} items, sessions: {sizes}", highlight=False
        )
        if out is not None:
            write_folder(dataset, out)
            print_line(f"written to {out}", _stdout)


def _negatives(name: str) -> Negatives:
    if name == "popularity":
        return "popularity"
    if name == "uniform":
        return "uniform"
    raise InputError(f"{name!r} is not popularity or uniform", field="negatives")


def main() -> None:
    """Run the command line."""
    # No library may reach for a hub or report home on its own.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Nothing that imports make is garbage, and looking for some takes a fifth of their time. In a
    # batch of 64 calls at a time Python's own threshold costs 8 % to 12 % of the efficiency.
    gc.set_threshold(20_000, 20, 20)
    try:
        app()
    finally:
        # All that matters is closed. The interpreter would look through every object of every
        # library once more: `kb search` takes 8.3 s instead of 6.6.
        gc.freeze()
