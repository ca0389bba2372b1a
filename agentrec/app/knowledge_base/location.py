"""Find and open the knowledge base that a command is about.

The store is imported in the functions that open one: ``agentrec --help`` does not load Qdrant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentrec.contracts import HintStore
from agentrec.errors import InputError
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.hints.lifecycle import Embed

if TYPE_CHECKING:
    from agentrec.stores.hints.opening import KnowledgeBaseInfo

DEFAULT_RUN = Path("runs/demo")


@dataclass(frozen=True)
class KnowledgeBaseLocation:
    """Where a knowledge base is, as the command line says.

    Attributes:
        base: Its folder, or the folder of the run that made it; ``None`` for the demo's.
        url: A Qdrant server to use instead of a folder.
        namespace: Its namespace; ``None`` for the only one there is.
    """

    base: Path | None = None
    url: str | None = None
    namespace: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of the knowledge base itself."""
        given = DEFAULT_RUN if self.base is None else self.base
        inside = RunFolder(given).knowledge_base
        return inside if self.base is None or inside.is_dir() else given

    @property
    def store_location(self) -> Path | str:
        """The folder or URL to open a store with."""
        return self.folder if self.url is None else self.url

    @property
    def address(self) -> str:
        """The location for people, without a user name or password in a URL."""
        from agentrec.stores.hints.opening import shown_address

        return str(self.folder) if self.url is None else shown_address(self.url)


@dataclass(frozen=True)
class KnowledgeBase:
    """An open knowledge base.

    Attributes:
        store: The store.
        namespace: The namespace of its hints.
        embedding_model: The model of its vectors; empty if unknown.
        dimension: Length of its vectors.
        address: Its location, for people.
    """

    store: HintStore
    namespace: str
    embedding_model: str
    dimension: int
    address: str

    def open_embed(self, name: str | None) -> Embed:
        """Open the embeddings whose vectors can be compared with the stored ones.

        Args:
            name: Name of embeddings; ``None`` for the knowledge base's own.

        Raises:
            InputError: The vectors are of another model, or of an unknown one.
        """
        known = self.embedding_model
        if name is not None and known and name != known:
            raise InputError(
                f"the vectors of {self.address} are by {known!r} and cannot be compared with"
                f" vectors by {name!r}; leave --embeddings out, or run `agentrec kb reembed` first",
                field="embeddings",
            )
        if not (name or known):
            raise InputError(
                f"{self.address} does not say which model made its vectors; name it with"
                " --embeddings",
                field="embeddings",
            )
        return named_embed(name or known, self.dimension)


def named_embed(name: str, dimension: int | None = None) -> Embed:
    """Open embeddings by name.

    Args:
        name: ``minilm``, ``hashed`` or ``provider:model``.
        dimension: Required length of every vector; ``None`` for any.

    Returns:
        A function that embeds texts and raises ``InputError`` on unusable vectors.

    Raises:
        InputError: The embeddings cannot be opened.
    """
    # Loads torch, which most commands do not need.
    from agentrec.named_components import open_embeddings

    embeddings = open_embeddings(name)

    async def embed(texts: list[str]) -> Sequence[Sequence[float]]:
        vectors = await embeddings.aembed_documents(texts)
        for text, vector in zip(texts, vectors, strict=True):
            if dimension is not None and len(vector) != dimension:
                raise InputError(
                    f"{name!r} makes vectors of length {len(vector)}, and the knowledge base has"
                    f" {dimension}",
                    field="embeddings",
                )
            if not any(vector):
                raise InputError(f"{name!r} gives {text!r} an all-zero vector", field="embeddings")
        return vectors

    return embed


async def describe_location(location: KnowledgeBaseLocation) -> KnowledgeBaseInfo | None:
    """Describe the knowledge base at a location, or return ``None`` if there is none.

    Raises:
        InputError: There are several namespaces and none is named, or the name is invalid.
        StoreError: The location cannot be read.
    """
    from agentrec.stores.hints.history import check_namespace
    from agentrec.stores.hints.opening import describe, namespaces

    if location.url is not None and location.base is not None:
        raise InputError("give a folder or a server, not both", field="base")
    if location.namespace is not None:
        try:
            check_namespace(location.namespace)
        except ValueError as error:
            raise InputError(str(error), field="namespace") from error
    known = await namespaces(location.store_location)
    if not known:
        return None
    if location.namespace is None and len(known) > 1:
        raise InputError(
            f"{location.address} has namespaces {_quoted(known)}; choose with --namespace",
            field="namespace",
        )
    namespace = known[0] if location.namespace is None else location.namespace
    return await describe(location.store_location, namespace)


async def missing_message(location: KnowledgeBaseLocation) -> str:
    """Say in one line why there is nothing to open."""
    from agentrec.stores.hints.opening import namespaces

    known = await namespaces(location.store_location)
    if known:
        return (
            f"{location.address} has no namespace {location.namespace!r}; it has {_quoted(known)}"
        )
    if location.url is None and location.base is None:
        return f"there is no knowledge base at {location.address}; name one with --base FOLDER"
    return f"{location.address}: there is no knowledge base"


@asynccontextmanager
async def open_existing(location: KnowledgeBaseLocation) -> AsyncIterator[KnowledgeBase]:
    """Open the knowledge base at a location, which must exist.

    Raises:
        InputError: There is none, or it has no such namespace.
        StoreError: It cannot be read.
    """
    info = await describe_location(location)
    if info is None:
        raise InputError(await missing_message(location))
    async with _open(location, info.namespace, info.embedding_model, info.dimension) as base:
        yield base


@asynccontextmanager
async def open_or_create(
    location: KnowledgeBaseLocation, embeddings: str | None
) -> AsyncIterator[KnowledgeBase]:
    """Open a knowledge base, or create it if embeddings are named.

    Raises:
        InputError: There is none, and no embeddings are named.
        StoreError: It cannot be read or created.
    """
    info = await describe_location(location)
    if info is not None:
        namespace, model, dimension = info.namespace, info.embedding_model, info.dimension
    elif embeddings is None:
        raise InputError(f"{await missing_message(location)}; to create one, name --embeddings")
    else:
        [vector] = await named_embed(embeddings)(["hint"])
        namespace, model, dimension = location.namespace or "", embeddings, len(vector)
    async with _open(location, namespace, model, dimension) as base:
        yield base


@asynccontextmanager
async def _open(
    location: KnowledgeBaseLocation, namespace: str, model: str, dimension: int
) -> AsyncIterator[KnowledgeBase]:
    from agentrec.stores.hints.opening import open_hint_store

    opening = open_hint_store(
        location.store_location, dimension, namespace=namespace, embedding_model=model
    )
    async with await opening as store:
        yield KnowledgeBase(store, namespace, model, dimension, location.address)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
