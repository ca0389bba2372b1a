"""The commands about a knowledge base: ``agentrec kb list``, ``show``, ``add`` and others."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from agentrec.app.cli.options import DebugOption, exit_with_error
from agentrec.app.knowledge_base import changing, reading
from agentrec.app.knowledge_base.location import KnowledgeBaseLocation
from agentrec.app.knowledge_base.results import KnowledgeBaseResult
from agentrec.app.reports.knowledge_base_report import knowledge_base_report
from agentrec.app.reports.tables import print_result

kb_app = typer.Typer(help="Read and change the hints of a knowledge base.", no_args_is_help=True)

BaseOption = Annotated[
    Path | None,
    typer.Option(
        "--base",
        help="Folder of the knowledge base, or of the run that made it. Default: runs/demo.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(help="Qdrant server instead of a folder; API key: AGENTREC_QDRANT_API_KEY."),
]
NamespaceOption = Annotated[
    str | None, typer.Option(help="Namespace of the hints. Default: the only one there is.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
EmbeddingsOption = Annotated[
    str | None,
    typer.Option(
        help="Text embeddings: minilm, hashed or PROVIDER:MODEL. Default: the knowledge base's."
    ),
]
StateOption = Annotated[str, typer.Option(help="nominated, admitted, retired or all.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a few words.")]
TextArgument = Annotated[str, typer.Argument(help="Text of the hint.")]
HintArgument = Annotated[str, typer.Argument(help="Id of the hint, or its first characters.")]
HintsArgument = Annotated[
    list[str], typer.Argument(help="Ids of hints, or their first characters.")
]


_Command = TypeVar("_Command", bound=Callable[..., Coroutine[Any, Any, KnowledgeBaseResult]])

_SHARED_OPTIONS = {
    "base": (BaseOption, None),
    "url": (UrlOption, None),
    "namespace": (NamespaceOption, None),
    "json_": (JsonOption, False),
    "debug": (DebugOption, False),
}


def _command(name: str) -> Callable[[_Command], _Command]:
    """Register a function as a command, and give it the options that all of these commands share.

    The function takes the location of the knowledge base, made of ``--base``, ``--url`` and
    ``--namespace``, and then its own arguments and options. Its docstring is the help.

    Args:
        name: Name of the command.
    """

    def register(function: _Command) -> _Command:
        def run(
            base: Path | None,
            url: str | None,
            namespace: str | None,
            json_: bool,
            debug: bool,
            **own: object,
        ) -> None:
            with exit_with_error(debug, stopped="Stopped. What was stored stays stored."):
                location = KnowledgeBaseLocation(base, url, namespace)
                result = asyncio.run(function(location, **own))
                print_result(result.as_json(), knowledge_base_report(result), as_json=json_)

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        shared = [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind)
            for each, (kind, value) in _SHARED_OPTIONS.items()
        ]
        # Typer reads arguments and options from the signature.
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        kb_app.command(name, help=function.__doc__)(run)
        return function

    return register


@_command("list")
async def list_hints(
    location: KnowledgeBaseLocation, state: StateOption = "all"
) -> KnowledgeBaseResult:
    """List the hints."""
    return await reading.list_hints(location, state)


@_command("show")
async def show(location: KnowledgeBaseLocation, hint: HintArgument) -> KnowledgeBaseResult:
    """Show everything known about one hint, with its other versions and its revisions."""
    return await reading.show_hint(location, hint)


@_command("search")
async def search(
    location: KnowledgeBaseLocation,
    text: Annotated[str, typer.Argument(help="Text to search for.")],
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of hints.")] = 5,
    state: StateOption = "all",
    embeddings: EmbeddingsOption = None,
) -> KnowledgeBaseResult:
    """Find the hints nearest to a text."""
    return await reading.search(location, text, limit, state, embeddings)


@_command("revisions")
async def revisions(location: KnowledgeBaseLocation) -> KnowledgeBaseResult:
    """List every revision."""
    return await reading.list_revisions(location)


@_command("diff")
async def diff(
    location: KnowledgeBaseLocation,
    before: Annotated[
        int | None, typer.Argument(min=0, help="Revision number; 0 is the empty knowledge base.")
    ] = None,
    after: Annotated[
        int | None, typer.Argument(min=0, help="Later revision number. Default: now.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Compare an exported file with the knowledge base instead.")
    ] = None,
) -> KnowledgeBaseResult:
    """Show what changed between two revisions, or since an export."""
    return await reading.diff(location, before, after, file)


@_command("export")
async def export(
    location: KnowledgeBaseLocation,
    file: Annotated[Path, typer.Argument(help="File to write: JSON Lines, one hint per line.")],
    state: StateOption = "all",
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Compute the vectors again and write them too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> KnowledgeBaseResult:
    """Write the hints to a file."""
    return await reading.export(location, file, state, vectors, force)


@_command("add")
async def add(
    location: KnowledgeBaseLocation,
    text: TextArgument,
    state: StateOption = "admitted",
    reason: ReasonOption = "",
    embeddings: EmbeddingsOption = None,
) -> KnowledgeBaseResult:
    """Add a hint of your own; --embeddings creates a knowledge base that does not exist yet."""
    return await changing.add_hint(location, text, state, reason, embeddings)


@_command("edit")
async def edit(
    location: KnowledgeBaseLocation,
    hint: HintArgument,
    text: TextArgument,
    embeddings: EmbeddingsOption = None,
) -> KnowledgeBaseResult:
    """Reword a hint: a new hint without evidence replaces it, and the old one is retired."""
    return await changing.edit_hint(location, hint, text, embeddings)


@_command("admit")
async def admit(
    location: KnowledgeBaseLocation, hints: HintsArgument, reason: ReasonOption = ""
) -> KnowledgeBaseResult:
    """Put hints into use."""
    return await changing.set_state(location, hints, False, reason)


@_command("retire")
async def retire(
    location: KnowledgeBaseLocation, hints: HintsArgument, reason: ReasonOption = ""
) -> KnowledgeBaseResult:
    """Take hints out of use and keep what is known about them."""
    return await changing.set_state(location, hints, True, reason)


@_command("merge")
async def merge(
    location: KnowledgeBaseLocation,
    kept: Annotated[str, typer.Argument(help="Id of the hint to keep, or its first characters.")],
    dropped: HintsArgument,
    reason: ReasonOption = "",
) -> KnowledgeBaseResult:
    """Keep one of several hints that say the same, and retire the others."""
    return await changing.merge_hints(location, kept, dropped, reason)


@_command("rollback")
async def rollback(
    location: KnowledgeBaseLocation,
    revision: Annotated[int, typer.Argument(min=0, help="Revision number; 0 retires every hint.")],
) -> KnowledgeBaseResult:
    """Restore the hints as a revision left them, in a new revision."""
    return await changing.roll_back(location, revision)


@_command("import")
async def import_file(
    location: KnowledgeBaseLocation,
    file: Annotated[Path, typer.Argument(help="JSON Lines file, one hint per line.")],
    as_nominated: Annotated[
        bool, typer.Option("--as-nominated", help="Import every hint as nominated, so not in use.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Move hints of other namespaces into this one.")
    ] = False,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Use the vectors in the file, which you trust.")
    ] = False,
    embeddings: EmbeddingsOption = None,
) -> KnowledgeBaseResult:
    """Add the hints of a file; --embeddings creates a knowledge base that does not exist yet."""
    return await changing.import_file(location, file, embeddings, as_nominated, take_over, vectors)


@_command("reembed")
async def reembed(
    location: KnowledgeBaseLocation,
    embeddings: Annotated[
        str, typer.Option(help="Text embeddings: minilm, hashed or PROVIDER:MODEL.")
    ],
) -> KnowledgeBaseResult:
    """Give every hint a vector of another embedding model."""
    return await changing.reembed_hints(location, embeddings)
