"""Finding and opening the knowledge base that a command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentrec.contracts import HintStore
from agentrec.errors import InputError
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.hints.history import check_namespace
from agentrec.stores.hints.lifecycle import Embed
from agentrec.stores.hints.opening import (
    KnowledgeBaseInfo,
    describe,
    namespaces,
    open_hint_store,
    shown_address,
)

DEFAULT_RUN = Path("runs/demo")


@dataclass(frozen=True)
class Place:
    """Where a knowledge base is, as it was given.

    Attributes:
        base: Its folder, or that of the run that made it; ``None`` for the demo's.
        url: A Qdrant server to use instead of a folder.
        namespace: Its namespace; ``None`` for the only one that is there.
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
    def shown(self) -> str:
        """The place, for people; without a name or password in an address."""
        return str(self.folder) if self.url is None else shown_address(self.url)

    @property
    def location(self) -> Path | str:
        """What a store is opened with."""
        return self.folder if self.url is None else self.url


@dataclass(frozen=True)
class KnowledgeBase:
    """A knowledge base that is open.

    Attributes:
        store: The store.
        namespace: The namespace of its hints.
        embedding_model: What its vectors are made with; empty if it does not say.
        dimension: Length of its vectors.
        place: Where it is, for people.
    """

    store: HintStore
    namespace: str
    embedding_model: str
    dimension: int
    place: str

    def embed_with(self, name: str | None) -> Embed:
        """What makes vectors that compare with those that are there.

        Args:
            name: Embeddings as they were given; ``None`` for the model it was made with.

        Raises:
            InputError: If it was made with another model, or does not say with which.
        """
        known = self.embedding_model
        if name is not None and known and name != known:
            raise InputError(
                f"the vectors of {self.place} are by {known!r}, and those of {name!r} do not"
                " compare with them; leave --embeddings out, or `agentrec kb reembed` it first",
                field="embeddings",
            )
        if not (name or known):
            raise InputError(
                f"{self.place} does not say what its vectors are made with; name it with"
                " --embeddings",
                field="embeddings",
            )
        return embedder(name or known, self.dimension)


def embedder(name: str, dimension: int | None = None) -> Embed:
    """Embeddings by name, whose faults are told in one line.

    Args:
        name: ``minilm``, ``hashed`` or ``provider:model``.
        dimension: Length that every vector has to have; ``None`` for any.

    Raises:
        InputError: If they cannot be opened.
    """
    # Here, because it loads torch, which most commands do without.
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
                raise InputError(f"{name!r} makes nothing of {text!r}", field="embeddings")
        return vectors

    return embed


async def found(place: Place) -> KnowledgeBaseInfo | None:
    """What the knowledge base at a place is, ``None`` if there is none at all.

    Raises:
        InputError: If the namespace is not there, or not given where there are several.
        StoreError: If the place cannot be read.
    """
    if place.url is not None and place.base is not None:
        raise InputError("give a folder or a server, not both", field="base")
    if place.namespace is not None:
        try:
            check_namespace(place.namespace)
        except ValueError as error:
            raise InputError(str(error), field="namespace") from error
    there = await namespaces(place.location)
    if not there:
        return None
    names = ", ".join(repr(name) for name in there)
    wanted = place.namespace
    if wanted is None:
        if len(there) > 1:
            raise InputError(
                f"{place.shown} has namespaces {names}; choose with --namespace", field="namespace"
            )
        wanted = there[0]
    return await describe(place.location, wanted)


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[KnowledgeBase]:
    """Open the knowledge base at a place, which has to be there.

    Raises:
        InputError: If there is none, or the namespace is not there.
        StoreError: If it cannot be read, or another process has it open.
    """
    info = await found(place)
    if info is None:
        raise InputError(await missing(place))
    async with _open(place, info.namespace, info.embedding_model, info.dimension) as base:
        yield base


@asynccontextmanager
async def opened_or_made(place: Place, embeddings: str | None) -> AsyncIterator[KnowledgeBase]:
    """Open a knowledge base, or make it where embeddings are named.

    Raises:
        InputError: If there is none and no embeddings are named.
        StoreError: If it cannot be read or made, or another process has it open.
    """
    info = await found(place)
    if info is not None:
        async with _open(place, info.namespace, info.embedding_model, info.dimension) as base:
            yield base
        return
    if embeddings is None:
        raise InputError(f"{await missing(place)}; to make one there, name --embeddings")
    [vector] = await embedder(embeddings)(["hint"])
    async with _open(place, place.namespace or "", embeddings, len(vector)) as base:
        yield base


async def missing(place: Place) -> str:
    """Why there is nothing to open, in one line."""
    there = await namespaces(place.location)
    if there:
        names = ", ".join(repr(name) for name in there)
        return f"{place.shown} has no namespace {place.namespace!r}; it has {names}"
    if place.url is None and place.base is None:
        return f"there is no knowledge base at {place.shown}; name one with --base FOLDER"
    return f"{place.shown}: there is no knowledge base"


@asynccontextmanager
async def _open(
    place: Place, namespace: str, model: str, dimension: int
) -> AsyncIterator[KnowledgeBase]:
    opening = open_hint_store(place.location, dimension, namespace=namespace, embedding_model=model)
    async with await opening as store:
        yield KnowledgeBase(store, namespace, model, dimension, place.shown)
