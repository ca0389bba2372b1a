"""The commands about a knowledge base that look: ``agentrec kb list``, ``show``, ``search`` ..."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agentrec.app.cli.exit_with_error import DebugOption
from agentrec.app.cli.kb_change_commands import changes_app
from agentrec.app.cli.kb_options import (
    BaseOption,
    EmbeddingsOption,
    HintArgument,
    JsonOption,
    NamespaceOption,
    StateOption,
    UrlOption,
)
from agentrec.app.knowledge_base.answers import ending

kb_app = typer.Typer(
    help="The knowledge base: look at its hints, and change what is in use.", no_args_is_help=True
)


@kb_app.command("list")
def list_(
    state: StateOption = "all",
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the hints."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import list_hints

        asyncio.run(list_hints(Place(base, url, namespace), state)).tell(json_)


@kb_app.command()
def show(
    hint: HintArgument,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show all that is known of one hint, its other versions and its revisions."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import show_hint

        asyncio.run(show_hint(Place(base, url, namespace), hint)).tell(json_)


@kb_app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option(min=1, help="How many hints at most.")] = 5,
    state: StateOption = "all",
    embeddings: EmbeddingsOption = None,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the hints nearest to a text."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import search

        place = Place(base, url, namespace)
        asyncio.run(search(place, text, limit, state, embeddings)).tell(json_)


@kb_app.command()
def revisions(
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List every change that was made."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import list_revisions

        asyncio.run(list_revisions(Place(base, url, namespace))).tell(json_)


@kb_app.command()
def diff(
    before: Annotated[
        int | None, typer.Argument(min=0, help="Number of a revision; 0: nothing was there yet.")
    ] = None,
    after: Annotated[
        int | None, typer.Argument(min=0, help="Number of another one. Default: now.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Compare what is there now with an exported file instead.")
    ] = None,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what changed between two revisions, or since an export."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import diff

        asyncio.run(diff(Place(base, url, namespace), before, after, file)).tell(json_)


@kb_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write, one JSON object a line.")],
    state: StateOption = "all",
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Write vectors too; they are made again for it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the hints to a file."""
    with ending(debug):
        from agentrec.app.knowledge_base.location import Place
        from agentrec.app.knowledge_base.reading import export

        place = Place(base, url, namespace)
        asyncio.run(export(place, file, state, vectors, force)).tell(json_)


# Without a name, so that these stand beside those above.
kb_app.add_typer(changes_app)
