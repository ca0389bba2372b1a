"""Options that the commands about a knowledge base share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
