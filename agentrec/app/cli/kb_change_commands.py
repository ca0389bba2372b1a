"""The commands about a knowledge base that change it: ``agentrec kb add``, ``edit`` and others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agentrec.app.cli.exit_with_error import DebugOption
from agentrec.app.cli.kb_options import (
    BaseOption,
    EmbeddingsOption,
    HintArgument,
    HintsArgument,
    JsonOption,
    NamespaceOption,
    ReasonOption,
    StateOption,
    UrlOption,
)
from agentrec.app.knowledge_base.answers import ending

changes_app = typer.Typer()

TextArgument = Annotated[str, typer.Argument(help="The hint's text.")]


@changes_app.command()
def add(
    text: TextArgument,
    state: StateOption = "admitted",
    reason: ReasonOption = "",
    embeddings: EmbeddingsOption = None,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Add a hint of your own; with --embeddings the knowledge base is made if it is not there."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import add_hint
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(add_hint(place, text, state, reason, embeddings)).tell(json_)


@changes_app.command()
def edit(
    hint: HintArgument,
    text: TextArgument,
    embeddings: EmbeddingsOption = None,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Reword a hint: a new one takes its place, without evidence, and the old one is retired."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import edit_hint
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(edit_hint(place, hint, text, embeddings)).tell(json_)


@changes_app.command()
def admit(
    hints: HintsArgument,
    reason: ReasonOption = "",
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let hints be used."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import set_state
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(set_state(place, hints, False, reason)).tell(json_)


@changes_app.command()
def retire(
    hints: HintsArgument,
    reason: ReasonOption = "",
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take hints out of use; what is known of them is kept."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import set_state
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(set_state(place, hints, True, reason)).tell(json_)


@changes_app.command()
def merge(
    kept: Annotated[str, typer.Argument(help="Id of the hint that stays, or how it begins.")],
    dropped: HintsArgument,
    reason: ReasonOption = "",
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let one hint stand for others that say the same; these are retired."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import merge_hints
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(merge_hints(place, kept, dropped, reason)).tell(json_)


@changes_app.command()
def rollback(
    revision: Annotated[
        int, typer.Argument(min=0, help="Number of the revision; 0 retires everything.")
    ],
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make the knowledge base again what a revision left it; that is a revision, too."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import roll_back
        from agentrec.app.knowledge_base.location import Place

        asyncio.run(roll_back(Place(base, url, namespace), revision)).tell(json_)


@changes_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File with one JSON object a line.")],
    as_nominated: Annotated[
        bool, typer.Option("--as-nominated", help="None may be used yet, whatever the file says.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take hints of other namespaces into this one.")
    ] = False,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Take vectors from a file that you trust.")
    ] = False,
    embeddings: EmbeddingsOption = None,
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Add the hints of a file; with --embeddings the base is made if it is not there."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import import_file
        from agentrec.app.knowledge_base.location import Place

        place = Place(base, url, namespace)
        asyncio.run(import_file(place, file, embeddings, as_nominated, take_over, vectors)).tell(
            json_
        )


@changes_app.command()
def reembed(
    embeddings: Annotated[
        str, typer.Option(help="Text embeddings: minilm, hashed or PROVIDER:MODEL.")
    ],
    base: BaseOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Give all hints the vectors of another embedding model."""
    with ending(debug):
        from agentrec.app.knowledge_base.changing import embed_anew
        from agentrec.app.knowledge_base.location import Place

        asyncio.run(embed_anew(Place(base, url, namespace), embeddings)).tell(json_)
