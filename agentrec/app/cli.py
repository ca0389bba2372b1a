"""The command line."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from agentrec.data.negatives import Negatives
from agentrec.errors import AgentRecError, InputError

INTERRUPTED = 130

app = typer.Typer(
    name="agentrec",
    help="Makes an LLM recommend better from its own mistakes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_stdout = Console()
_stderr = Console(stderr=True)

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


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


@app.command(
    help="Run the closed loop on real sessions and show what it gains.\n\n"
    "A model recommends for training sessions, reflects on its errors and leaves hints; a policy"
    " learns which hint helps; later sessions show whether it does. Stop it at any time with"
    " Ctrl-C: the same command goes on where it was."
)
def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder in the neutral format. Default: MovieLens-100K."),
    ] = None,
    run: Annotated[Path, typer.Option(help="Run folder; a run found there goes on.")] = Path(
        "runs/demo"
    ),
    llm: Annotated[
        str | None,
        typer.Option(
            help="Chat model as PROVIDER:MODEL, such as openai:gpt-4o-mini; key and base URL come"
            " from the environment. Default: the embedded model, trained on first use."
        ),
    ] = None,
    embeddings: Annotated[
        str, typer.Option(help="Text embeddings: minilm, hashed or PROVIDER:MODEL.")
    ] = "minilm",
    negatives: Annotated[
        str,
        typer.Option(help="How candidates are sampled where there are none: popularity, uniform."),
    ] = "popularity",
    prompts: Annotated[
        Path | None, typer.Option(help="Folder with prompt files of your own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    max_hints: Annotated[
        int, typer.Option(min=1, help="How many hints the knowledge base may hold.")
    ] = 20,
    max_explored: Annotated[
        int, typer.Option(min=1, help="Most training sessions to look for errors in.")
    ] = 300,
    max_rewarded: Annotated[
        int, typer.Option(min=1, help="Most training sessions to measure every hint on.")
    ] = 1500,
    num_probes: Annotated[
        int,
        typer.Option(min=0, help="On how many other sessions a hint has to prove itself."),
    ] = 64,
    lm_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps of the embedded model; fewer: quicker, worse."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most model calls in flight.")] = 64,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Most model calls a minute. Default: no limit.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Run the closed loop."""
    try:
        # Inside, because it takes seconds, in which people press Ctrl-C too.
        from agentrec.app.demo import run_demo
        from agentrec.app.settings import DemoSettings

        settings = DemoSettings(
            data=data,
            run=run,
            llm=llm,
            embeddings=embeddings,
            negatives=_negatives(negatives),
            prompts=prompts,
            seed=seed,
            max_hints=max_hints,
            max_explored=max_explored,
            max_rewarded=max_rewarded,
            num_probes=num_probes,
            lm_steps=lm_steps,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
        )
        asyncio.run(run_demo(settings, _stdout))
    except (Exception, KeyboardInterrupt) as error:
        _end(error, debug)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the data set: ml-100k.")],
    zip_file: Annotated[
        Path | None,
        typer.Option("--zip", help="A GroupLens ml-100k.zip that you have, instead of a download."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the sessions to, in the neutral format.")
    ] = None,
    negatives: Annotated[
        str, typer.Option(help="How candidates are sampled: popularity, uniform.")
    ] = "popularity",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    debug: DebugOption = False,
) -> None:
    """Bring in a public data set and cut it into sessions."""
    try:
        from agentrec.data import load_movielens, write_folder

        if name != "ml-100k":
            raise InputError(f"unknown data set {name!r}; known is ml-100k", field="name")
        dataset = load_movielens(negatives=_negatives(negatives), seed=seed, zip_path=zip_file)
        sizes = ", ".join(f"{len(sessions)} {split}" for split, sessions in dataset.splits())
        _stdout.print(
            f"{dataset.name}: {len(dataset.catalog)} items, sessions: {sizes}", highlight=False
        )
        if out is not None:
            write_folder(dataset, out)
            _stdout.print(f"written to {out}", markup=False, highlight=False)
    except (Exception, KeyboardInterrupt) as error:
        _end(error, debug)


def _negatives(name: str) -> Negatives:
    if name == "popularity":
        return "popularity"
    if name == "uniform":
        return "uniform"
    raise InputError(f"{name!r} is neither popularity nor uniform", field="negatives")


def _end(error: BaseException, debug: bool) -> NoReturn:
    """Leave with one clear line and the right exit code."""
    if isinstance(error, (typer.Exit, typer.Abort)):
        raise error
    if debug:
        _stderr.print_exception()
    if isinstance(error, KeyboardInterrupt):
        _line("Stopped. The same command goes on where it was.")
        sys.exit(INTERRUPTED)
    if isinstance(error, AgentRecError):
        _line(f"error: {error}")
        sys.exit(error.exit_code)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        _line(f"error: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        sys.exit(InputError.exit_code)
    _line(f"error: {type(error).__name__}: {error} (--debug shows the traceback)")
    sys.exit(1)


def _line(text: str) -> None:
    _stderr.print(
        " ".join(text.split()), style="red", markup=False, highlight=False, soft_wrap=True
    )


def main() -> None:
    """Run the command line."""
    # No library may reach for a hub or report home on its own.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    app()
