"""Commands about the embedded model: ``agentrec lm train``, ``eval`` and ``chat``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console

from agentrec.app.cli.options import DebugOption, JsonOption, exit_with_error, print_line
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.app.cli.catalog_chat import CatalogChat

lm_app = typer.Typer(
    help="Train, evaluate and try the embedded model of a catalogue.",
    no_args_is_help=True,
)

_stdout = Console()

FolderArgument = Annotated[Path, typer.Argument(help="Folder of an embedded model.")]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder in the neutral format. Default: MovieLens-100K.")
]
EmbeddingsOption = Annotated[
    str, typer.Option(help="Text embeddings of the items: minilm, hashed or PROVIDER:MODEL.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything that is sampled.")]


@lm_app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder to create; must not exist.")],
    data: DataOption = None,
    embeddings: EmbeddingsOption = "minilm",
    steps: Annotated[
        int | None, typer.Option(min=2, help="Training steps; fewer are faster and worse.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Train a model on a catalogue. Stop with Ctrl-C; the same command resumes."""
    with exit_with_error(debug):
        from agentrec.app.learning.embedded_model import train_model
        from agentrec.settings.run_settings import RunSettings

        settings = RunSettings(data=data, embeddings=embeddings, lm_steps=steps)
        asyncio.run(train_model(settings, out, _stdout))
        for line in (
            f"written to {out}; its README.md says what it can do",
            f"use it: agentrec demo --llm catalog-lm:{out}",
            f"   or : agentrec lm chat {out}",
        ):
            print_line(line, _stdout)


@lm_app.command("eval")
def evaluate(
    folder: FolderArgument,
    data: DataOption = None,
    embeddings: EmbeddingsOption = "minilm",
    split: Annotated[str, typer.Option(help="Sessions to rank: valid, test or train.")] = "valid",
    seed: SeedOption = 0,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Evaluate a model on new prompts, and on sessions, beside the rule that it learnt from."""
    with exit_with_error(debug):
        from agentrec.app.learning.embedded_model import examine_model, model_report
        from agentrec.app.reports.tables import print_result
        from agentrec.data.dataset import SplitName
        from agentrec.settings.run_settings import RunSettings

        named = next((name for name in get_args(SplitName) if name == split), None)
        if named is None:
            raise InputError(f"{split!r} is none of valid, test, train", field="split")
        settings = RunSettings(data=data, embeddings=embeddings, seed=seed)
        console = Console(stderr=True) if json_ else _stdout
        evaluation = asyncio.run(examine_model(folder, settings, named, console))
        print_result(evaluation, model_report(evaluation, split), as_json=json_)


@lm_app.command()
def chat(
    folder: FolderArgument,
    temperature: Annotated[
        float,
        typer.Option(min=0, max=2, help="Sampling temperature; 0 for the likeliest answer."),
    ] = 0.0,
    seed: SeedOption = 0,
    debug: DebugOption = False,
) -> None:
    """Chat with a model about its catalogue; reads lines from a terminal or a pipe."""
    with exit_with_error(debug, stopped="Bye."):
        from agentrec.app.cli.catalog_chat import CatalogChat
        from agentrec.embedded_model.chat_model import CatalogChatModel

        model = CatalogChatModel.from_folder(folder, temperature, seed)
        _converse(CatalogChat(model, seed))


def _converse(chat: CatalogChat) -> None:
    from agentrec.app.cli.catalog_chat import HELP

    async def answer(line: str) -> None:
        async for piece in chat.answer(line):
            _say(piece)
        _say("\n")

    interactive = sys.stdin.isatty()
    if interactive:
        _say(HELP + "\n")
    # Lines are read outside the event loop, or Ctrl-C would wait for the next one.
    with asyncio.Runner() as runner:
        while True:
            if interactive:
                _say("> ")
            line = sys.stdin.readline()
            if not line or line.strip() == "/quit":
                return
            if not interactive:
                _say(f"> {line.strip()}\n")
            runner.run(answer(line))


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
