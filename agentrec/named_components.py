"""Opening components by name: models, embeddings, hint stores, policies, candidate generators."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from agentrec.catalog import Catalog
from agentrec.contracts import HintPolicy, HintStore
from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.errors import InputError
from agentrec.llm.chat_models import EMBEDDED, model_identity, open_chat_model
from agentrec.plugins import (
    CANDIDATE_GENERATORS,
    EMBEDDINGS,
    HINT_STORES,
    load_plugin,
    plugin_names,
)
from agentrec.policies.policy_kinds import find_kind, import_object, load_policy
from agentrec.session_encoding.embeddings import HashedWordEmbeddings, MiniLMEmbeddings
from agentrec.settings.model_settings import LlmSettings
from agentrec.stores.hints import opening as opening_hints

IN_MEMORY = ":memory:"


class NamedModel(NamedTuple):
    """A chat model, and the name under which its answers are kept."""

    model: BaseChatModel
    identity: str


class NamedEmbeddings(NamedTuple):
    """Text embeddings, and the name that hints are stored with."""

    embeddings: Embeddings
    name: str
    is_exact: bool = True
    """Whether nothing else makes other vectors under this name."""

    def cache_name(self) -> str:
        """Return a name for what they embed; asks them for one vector unless theirs is exact."""
        if self.is_exact:
            return self.name
        probe = repr(self.embeddings.embed_query(self.name)).encode()
        return f"{self.name}-{hashlib.sha256(probe).hexdigest()[:16]}"


def open_embeddings(name: str) -> Embeddings:
    """Open text embeddings by name.

    Args:
        name: ``minilm``, ``hashed``, ``PROVIDER:MODEL`` for LangChain's ``init_embeddings``, or
            the name of embeddings that an installed package brings.

    Raises:
        InputError: If the name is unknown, or the provider's package or its key is missing.
    """
    if name == "minilm":
        return MiniLMEmbeddings()
    if name == "hashed":
        return HashedWordEmbeddings(256)
    plugin, colon, rest = name.partition(":")
    if plugin in plugin_names(EMBEDDINGS):
        return cast("Embeddings", load_plugin(EMBEDDINGS, plugin)(rest))
    if not colon:
        known = ", ".join(["minilm", "hashed", *plugin_names(EMBEDDINGS)])
        raise InputError(
            f"{name!r} is not supported: use {known} or PROVIDER:MODEL", field="embeddings"
        )
    from langchain.embeddings import init_embeddings

    try:
        return init_embeddings(name)
    except Exception as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"{name!r}: {line}", field="embeddings") from error


def name_embeddings(embeddings: Embeddings) -> NamedEmbeddings:
    """Name embeddings that were given as an object: by their class and, if known, their model."""
    model = getattr(embeddings, "model", None) or getattr(embeddings, "model_name", None)
    name = type(embeddings).__name__
    name = f"{name}:{model}" if isinstance(model, str) else name
    return NamedEmbeddings(embeddings, name, is_exact=False)


def open_model(name: str, parameters: Mapping[str, object], timeout: float) -> NamedModel:
    """Open a chat model by name.

    Args:
        name: ``PROVIDER:MODEL``, ``catalog-lm:FOLDER`` or the folder of an embedded model.
        parameters: What the provider's class takes.
        timeout: How many seconds to wait for an answer, above 0.

    Raises:
        InputError: If the model cannot be opened.
    """
    if ":" not in name and (Path(name) / "catalog_lm.json").is_file():
        name = f"{EMBEDDED}:{name}"
    model = open_chat_model(name, parameters, timeout=timeout)
    if name.partition(":")[0] == EMBEDDED:
        return name_model(model)
    return NamedModel(model, model_identity(name, model, parameters))


def name_model(model: BaseChatModel) -> NamedModel:
    """Name a chat model that was given as an object: by all that decides what it answers."""
    if _is_embedded(model):
        from agentrec.embedded_model.chat_model import CatalogChatModel

        # By its weights: what lies in a folder may be tuned or taught again.
        weights = cast("CatalogChatModel", model).catalog_model.weights_hash
        return NamedModel(model, f"{EMBEDDED}:{weights[:16]}")
    described = model.asdict()
    kind = str(described.pop("_type", type(model).__name__))
    name = str(described.pop("model_name", None) or described.pop("model", None) or "model")
    decisive = {key: value for key, value in described.items() if value is not None}
    decisive.pop("model", None)
    return NamedModel(model, model_identity(f"{kind}:{name}", model, decisive))


def _is_embedded(model: BaseChatModel) -> bool:
    return type(model).__module__ == "agentrec.embedded_model.chat_model"


def model_of_settings(llm: LlmSettings) -> NamedModel | None:
    """Open the chat model that settings name; ``None`` for the embedded model, taught later.

    Raises:
        InputError: If the model cannot be opened, or parameters are set without a model.
    """
    if llm.name is not None:
        return open_model(llm.name, llm.given, llm.timeout)
    if llm.given:
        names = ", ".join(sorted(llm.given))
        raise InputError(f"{names} is set without a model; name a model", field="llm.name")
    return None


def import_embedded_model(llm: LlmSettings) -> None:
    """Import the embedded model's libraries if settings name it, which takes seconds.

    For commands, before their event loop runs: there Ctrl-C ends an import at once, while an
    import inside the loop or in a thread is waited for.
    """
    if llm.name is None or llm.name.partition(":")[0] == EMBEDDED:
        import_module("agentrec.embedded_model.chat_model")
        import_module("agentrec.embedded_model.teaching.model_cache")


@asynccontextmanager
async def open_hint_store(
    location: Path | str | HintStore, dimension: int, embedding_model: str
) -> AsyncIterator[HintStore]:
    """Open a hint store, and close it at the end; a store that was given stays open.

    Args:
        location: A folder, the URL of a Qdrant server, ``:memory:``, ``NAME:LOCATION`` of a store
            that an installed package brings, or a store.
        dimension: Length of the hints' vectors, at least 1.
        embedding_model: Name of the embeddings that make them.

    Raises:
        StoreError: If the store cannot be opened or was made with other embeddings.
    """
    if not isinstance(location, str | Path):
        yield location
        return
    text = str(location)
    plugin, _, rest = text.partition(":")
    if isinstance(location, str) and plugin in plugin_names(HINT_STORES):
        async with load_plugin(HINT_STORES, plugin)(rest, dimension, embedding_model) as store:
            yield store
        return
    opening = opening_hints.open_hint_store(text, dimension, embedding_model=embedding_model)
    async with await opening as opened:
        yield opened


def open_policy(policy: Path | str) -> HintPolicy:
    """Open a hint policy: blocks.

    Args:
        policy: The folder of a trained policy, or the name of a kind that needs no training, such
            as ``no_hint`` or ``nearest``.

    Raises:
        InputError: If there is no such policy, or its kind has to be trained first.
    """
    if isinstance(policy, Path) or Path(policy).is_dir():
        return load_policy(Path(policy))
    try:
        kind = import_object(find_kind(policy).policy)
    except InputError as error:
        raise InputError(
            f"{policy!r} is neither the folder of a trained policy nor the name of a kind",
            field="policy",
        ) from error
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise InputError(
            f"{policy!r} has to be trained or set up first; give the folder of a trained one,"
            " such as runs/demo/live",
            field="policy",
        ) from error
    return cast("HintPolicy", kind())


def open_candidates(name: Path | str, catalog: Catalog) -> CandidateGenerator:
    """Open a candidate generator: blocks.

    Args:
        name: The folder of a trained sequential recommender, such as ``runs/demo/backbone``, or
            the name of a generator that an installed package brings.
        catalog: The items.

    Raises:
        InputError: If there is no such generator.
    """
    if isinstance(name, Path) or Path(name).is_dir():
        from agentrec.policies.sequential.recommender import SequentialRecommender

        return SequentialRecommender.load(Path(name))
    return cast("CandidateGenerator", load_plugin(CANDIDATE_GENERATORS, name)(catalog))
