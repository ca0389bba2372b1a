"""Opening knowledge bases: in a folder, in memory, or on a Qdrant server."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from agentrec.errors import StoreError
from agentrec.hints import STATES, HintEmbedding, HintState
from agentrec.stores.hints.cosine import unit_vectors
from agentrec.stores.hints.history import HintHistory, check_namespace
from agentrec.stores.hints.logged_store import InMemoryHintStore, LoggedHintStore, failure
from agentrec.stores.hints.qdrant_log import QdrantLog, check_server
from agentrec.stores.hints.revision_log import (
    BaseFacts,
    LoggedChange,
    RevisionLog,
    SqliteLog,
)
from agentrec.stores.hints.vector_index import QdrantIndex

API_KEY_VARIABLE = "AGENTREC_QDRANT_API_KEY"
IN_MEMORY = ":memory:"

_BATCH = 256
_PREFIX = "hints"
_LOG_SUFFIX = "-revisions"

Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""Turns up to 256 texts into vectors, ``[num_texts, dimension]``."""


@dataclass(frozen=True)
class KnowledgeBaseInfo:
    """What a knowledge base is.

    Attributes:
        namespace: The namespace of its hints.
        embedding_model: What its vectors are made with; empty if unknown.
        dimension: Length of its vectors.
        counts: How many hints it has in each state, all states named.
        revisions: How many changes were made to it.
    """

    namespace: str
    embedding_model: str
    dimension: int
    counts: Mapping[HintState, int]
    revisions: int


async def open_hint_store(
    location: Path | str,
    dimension: int,
    *,
    namespace: str = "",
    embedding_model: str = "",
) -> LoggedHintStore:
    """Open a knowledge base, or make it where there is none.

    In a folder, the truth is an SQLite log of revisions, and a Qdrant index in memory is built from
    it: one process writes at a time while any number read, and a revision is stored whole or
    not at all, whenever the process is killed. On a server, many processes may write. The API key
    comes from the environment variable ``AGENTREC_QDRANT_API_KEY``.

    Args:
        location: A folder, the address of a Qdrant server (``http://localhost:6333``), or
            ``":memory:"``.
        dimension: Length of every vector, at least 1.
        namespace: The namespace of every hint.
        embedding_model: What vectors are made with; hints are stored with it. Empty if unknown.

    Returns:
        The store; close it with ``aclose`` or ``async with``.

    Raises:
        StoreError: It cannot be read or made, or was made with another embedding model or vectors
            of another length.
        ValueError: ``dimension`` is below 1, or ``namespace`` is none.
    """
    facts = BaseFacts(dimension, embedding_model)
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, not {dimension}")
    check_namespace(namespace)
    if location == IN_MEMORY:
        return InMemoryHintStore(dimension, namespace, embedding_model)
    make = partial(_on_server if is_server(location) else _in_folder, str(location))
    opening = asyncio.ensure_future(asyncio.to_thread(make, namespace, facts))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unused)
        raise


async def namespaces(location: Path | str) -> list[str]:
    """List the namespaces that have a knowledge base at a location, in order.

    Raises:
        StoreError: The location cannot be read.
    """
    return await asyncio.to_thread(_namespaces, str(location))


async def describe(location: Path | str, namespace: str = "") -> KnowledgeBaseInfo | None:
    """Describe a knowledge base, or return ``None`` if there is no such one.

    Raises:
        StoreError: It cannot be read.
    """
    return await asyncio.to_thread(_describe, str(location), namespace)


async def reembed(
    path: Path | str, embed: Embed, embedding_model: str, dimension: int, namespace: str = ""
) -> int:
    """Give every hint of a knowledge base in a folder a vector of another embedding model.

    This is one more revision, stored whole or not at all. Stores that have the folder open
    report that it has to be opened again.

    Args:
        path: The folder.
        embed: Makes the vectors.
        embedding_model: What the vectors are made with, not empty.
        dimension: Length of the vectors, at least 1.
        namespace: The namespace of the hints.

    Returns:
        How many hints were embedded; 0 if all of them are of this model already.

    Raises:
        StoreError: There is no such knowledge base.
        ValueError: ``embedding_model`` is empty, or ``embed`` returns other vectors.
    """
    if not embedding_model:
        raise ValueError("the embedding model needs a name: hints are stored with it")
    wanted = HintEmbedding(model=embedding_model, dimension=dimension)
    with closing(await asyncio.to_thread(SqliteLog, _file(Path(path), namespace))) as log:
        while True:
            history = await asyncio.to_thread(_history, log)
            hints = history.all()
            facts = await asyncio.to_thread(log.facts)
            if facts == BaseFacts(dimension, embedding_model) and all(
                hint.embedding == wanted for hint in hints
            ):
                return 0
            vectors: list[Sequence[float]] = []
            for start in range(0, len(hints), _BATCH):
                vectors += await embed([hint.text for hint in hints[start : start + _BATCH]])
            directions = unit_vectors(vectors, len(hints), dimension)
            of = {hint.hint_id: each for hint, each in zip(hints, directions, strict=True)}
            logged = LoggedChange(history.embedding_anew(wanted), of)
            new = BaseFacts(dimension, embedding_model)
            # False where another writer was faster: its hints need vectors too.
            if await asyncio.to_thread(log.append_embedded_anew, logged, new):
                return len(hints)


def is_server(location: Path | str) -> bool:
    """Return whether a location is the address of a server."""
    return str(location).startswith(("http://", "https://"))


def shown_address(url: str) -> str:
    """An address without the user name and password that it may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _in_folder(path: str, namespace: str, facts: BaseFacts) -> LoggedHintStore:
    folder = Path(path)
    _check_folder(folder)
    log = SqliteLog(_file(folder, namespace), facts)
    try:
        model = _check_fits(path, log.facts(), facts)
        index = QdrantIndex(QdrantClient(":memory:"), _PREFIX, facts.dimension, shared=False)
        return LoggedHintStore(
            log,
            index,
            facts.dimension,
            namespace=namespace,
            embedding_model=model,
            address=path,
        )
    except BaseException:
        log.close()
        raise


def _on_server(url: str, namespace: str, facts: BaseFacts) -> LoggedHintStore:
    address, key = shown_address(url), _key()
    client = _client(url)
    try:
        check_server(client)
        name = f"{_PREFIX}-{namespace}" if namespace else _PREFIX
        log = QdrantLog(client, name + _LOG_SUFFIX, facts)
        model = _check_fits(address, log.facts(), facts)
        index = QdrantIndex(client, name, facts.dimension, shared=True)
        return LoggedHintStore(
            log,
            index,
            facts.dimension,
            namespace=namespace,
            embedding_model=model,
            address=address,
            secret=key,
        )
    except StoreError as error:
        client.close()
        raise StoreError(f"{address}: {error}".replace(f"{address}: {address}", address)) from None
    except Exception as error:
        client.close()
        hint = "; is a Qdrant server there, and is the API key right?"
        raise StoreError(f"{failure(address, error, key)}{hint}") from None


def _client(url: str) -> QdrantClient:
    return QdrantClient(url=url, api_key=_key() or None, check_compatibility=False)


def _key() -> str:
    return os.environ.get(API_KEY_VARIABLE, "")


def _check_fits(address: str, known: BaseFacts, asked: BaseFacts) -> str:
    """The embedding model of the knowledge base, if it is the one asked for."""
    other_model = (
        known.embedding_model
        and asked.embedding_model
        and known.embedding_model != asked.embedding_model
    )
    if other_model or known.dimension != asked.dimension:
        raise StoreError(
            f"{address}: this knowledge base was made with {_named(known)}, not {_named(asked)}; "
            "use that embedding model, or change the knowledge base with `agentrec kb reembed`"
        )
    return known.embedding_model or asked.embedding_model


def _named(facts: BaseFacts) -> str:
    model = f"{facts.embedding_model!r} " if facts.embedding_model else ""
    return f"embeddings {model}of length {facts.dimension}"


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: a knowledge base is a folder, and this is a file")
    if (folder / "meta.json").exists() and not list(folder.glob(f"{_PREFIX}*.sqlite")):
        raise StoreError(
            f"{folder}: this knowledge base was made by an earlier version of agentrec and is not "
            "read, because its files may run code; remove or rename the folder, and import its "
            "hints from the run's hints.jsonl with `agentrec kb import`"
        )


def _file(folder: Path, namespace: str) -> Path:
    check_namespace(namespace)
    return folder / (f"{_PREFIX}-{namespace}.sqlite" if namespace else f"{_PREFIX}.sqlite")


def _namespaces(location: str) -> list[str]:
    if is_server(location):
        client = _client(location)
        try:
            names = [each.name for each in client.get_collections().collections]
        except Exception as error:
            raise failure(shown_address(location), error, _key()) from None
        finally:
            client.close()
        suffix = _LOG_SUFFIX
    else:
        _check_folder(Path(location))
        names, suffix = [file.name for file in Path(location).glob(f"{_PREFIX}*.sqlite")], ".sqlite"
    heads = {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
    found = {"" if head == _PREFIX else head.removeprefix(f"{_PREFIX}-") for head in heads}
    return sorted(found)


def _describe(location: str, namespace: str) -> KnowledgeBaseInfo | None:
    if namespace not in _namespaces(location):
        return None
    log: SqliteLog | QdrantLog
    if is_server(location):
        name = f"{_PREFIX}-{namespace}" if namespace else _PREFIX
        log = QdrantLog(_client(location), name + _LOG_SUFFIX)
    else:
        log = SqliteLog(_file(Path(location), namespace))
    with closing(log):
        facts, history = log.facts(), _history(log)
    counted = Counter(hint.state for hint in history.all())
    return KnowledgeBaseInfo(
        namespace=namespace,
        embedding_model=facts.embedding_model,
        dimension=facts.dimension,
        counts={state: counted[state] for state in STATES},
        revisions=history.latest,
    )


def _history(log: RevisionLog) -> HintHistory:
    history = HintHistory()
    for logged in log.read(0):
        history.record(logged.change)
    return history


def _close_unused(opening: asyncio.Future[LoggedHintStore]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()._close()
