"""The commands about the embedded model: ``agentrec lm train``, ``eval`` and ``chat``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console

from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.app.cli.catalog_chat import CatalogChat

lm_app = typer.Typer(
    help="The embedded model: taught from a catalogue, on this computer.", no_args_is_help=True
)

_stdout = Console()

FolderArgument = Annotated[Path, typer.Argument(help="Folder of a model that `train` made.")]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder in the neutral format. Default: MovieLens-100K.")
]
EmbeddingsOption = Annotated[
    str, typer.Option(help="Text embeddings of the items: minilm, hashed or PROVIDER:MODEL.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]


@lm_app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder to make; nothing may be there yet.")],
    data: DataOption = None,
    embeddings: EmbeddingsOption = "minilm",
    steps: Annotated[
        int | None, typer.Option(min=2, help="Training steps; fewer: quicker, worse.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Teach a model from a catalogue. Ctrl-C stops it; the same command goes on where it was."""
    try:
        from agentrec.app.learning.embedded_model import train_model
        from agentrec.settings.run_settings import RunSettings

        settings = RunSettings(data=data, embeddings=embeddings, lm_steps=steps)
        asyncio.run(train_model(settings, out, _stdout))
        for line in (
            f"written to {out}; what it can do is in its README.md",
            f"use it: agentrec demo --llm catalog-lm:{out}",
            f"   or : agentrec lm chat {out}",
        ):
            # A path that is wrapped cannot be copied.
            _stdout.print(line, markup=False, highlight=False, soft_wrap=True)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@lm_app.command("eval")
def evaluate(
    folder: FolderArgument,
    data: DataOption = None,
    embeddings: EmbeddingsOption = "minilm",
    split: Annotated[
        str, typer.Option(help="Sessions to rank: valid (default), test or train.")
    ] = "valid",
    seed: SeedOption = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: DebugOption = False,
) -> None:
    """Examine a model: on fresh prompts, and on sessions beside the rule it was taught by."""
    try:
        from agentrec.app.learning.embedded_model import examine_model
        from agentrec.app.reports.embedded_model_report import as_json, print_model_report
        from agentrec.data.dataset import SplitName
        from agentrec.settings.run_settings import RunSettings

        named = next((name for name in get_args(SplitName) if name == split), None)
        if named is None:
            raise InputError(f"{split!r} is none of valid, test, train", field="split")
        settings = RunSettings(data=data, embeddings=embeddings, seed=seed)
        console = Console(stderr=True) if json_ else _stdout
        report = asyncio.run(examine_model(folder, settings, named, console))
        if json_:
            sys.stdout.write(as_json(report) + "\n")
        else:
            print_model_report(report, split, _stdout)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@lm_app.command()
def chat(
    folder: FolderArgument,
    temperature: Annotated[
        float, typer.Option(min=0, max=2, help="0: the most probable answer.")
    ] = 0.0,
    seed: SeedOption = 0,
    debug: DebugOption = False,
) -> None:
    """Talk with a model about its catalogue; lines may come from a pipe, too."""
    try:
        from agentrec.app.cli.catalog_chat import CatalogChat
        from agentrec.embedded_model.chat_model import CatalogChatModel

        model = CatalogChatModel.from_folder(folder, temperature, seed)
        _converse(CatalogChat(model, seed))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug, stopped="Bye.")


def _converse(chat: CatalogChat) -> None:
    from agentrec.app.cli.catalog_chat import HELP

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
            runner.run(_answer(chat, line))


async def _answer(chat: CatalogChat, line: str) -> None:
    async for piece in chat.answer(line):
        _say(piece)
    _say("\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
