"""The commands about a knowledge base that look: ``agentrec kb list``, ``show``, ``search`` ..."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agentrec.app.cli.options import DebugOption
from agentrec.app.knowledge_base.answers import ending

BaseOption = Annotated[
    Path | None,
    typer.Option(
        "--base",
        help="Folder of the knowledge base, or of the run that made it. Default: runs/demo.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(help="Qdrant server instead of a folder; its key from AGENTREC_QDRANT_API_KEY."),
]
NamespaceOption = Annotated[
    str | None, typer.Option(help="Namespace of the hints. Default: the only one that is there.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead, and nothing else.")
]
EmbeddingsOption = Annotated[
    str | None,
    typer.Option(
        help="Text embeddings: minilm, hashed or PROVIDER:MODEL. Default: those of the base."
    ),
]
StateOption = Annotated[str, typer.Option(help="nominated, admitted, retired or all.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a few words.")]
HintArgument = Annotated[str, typer.Argument(help="The hint's id, or how it begins.")]
HintsArgument = Annotated[list[str], typer.Argument(help="Ids of hints, or how they begin.")]

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


TextArgument = Annotated[str, typer.Argument(help="The hint's text.")]


@kb_app.command()
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


@kb_app.command()
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


@kb_app.command()
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


@kb_app.command()
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


@kb_app.command()
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


@kb_app.command()
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


@kb_app.command("import")
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


@kb_app.command()
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
