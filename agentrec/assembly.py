"""Putting the parts of a run together from settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from agentrec.data import Dataset, item_counts, load_folder, load_movielens
from agentrec.data.fetching import cache_folder
from agentrec.data.item_features import ItemFeatures, discover_features
from agentrec.errors import InputError
from agentrec.llm.providers.chat_models import EMBEDDED, model_identity, open_chat_model
from agentrec.progress import ProgressDisplay, run_blocking
from agentrec.session_encoding.embeddings import HashedWordEmbeddings, MiniLMEmbeddings
from agentrec.session_encoding.item_vectors import embed_items
from agentrec.settings.model_settings import LlmSettings
from agentrec.settings.run_settings import RunSettings

if TYPE_CHECKING:
    # Whoever asks another model need not wait for the libraries of this one: seconds.
    from agentrec.embedded_model.chat_model import CatalogChatModel


@dataclass(frozen=True)
class CatalogKnowledge:
    """What is known of the items before any model is asked.

    Attributes:
        text_vectors: Embedded items, ``[num_items, dimension]``.
        features: Discovered features, fame from the training sessions among them.
        counts: How often each item was chosen in the training sessions.
    """

    text_vectors: npt.NDArray[np.float32]
    features: ItemFeatures
    counts: Mapping[str, int]


async def load_data(settings: RunSettings) -> Dataset:
    """Load the sessions.

    Raises:
        InputError: If the folder cannot be used.
        FetchError: If MovieLens-100K cannot be had.
    """
    negatives, seed = settings.negatives, settings.seed
    if settings.data is not None:
        return await asyncio.to_thread(load_folder, settings.data, negatives=negatives, seed=seed)
    return await asyncio.to_thread(load_movielens, negatives=negatives, seed=seed)


def open_embeddings(name: str) -> Embeddings:
    """Text embeddings by one string: ``minilm``, ``hashed`` or ``provider:model``.

    Raises:
        InputError: If the name, the provider's package or its key is missing or wrong.
    """
    if name == "minilm":
        return MiniLMEmbeddings()
    if name == "hashed":
        return HashedWordEmbeddings(256)
    if ":" not in name:
        raise InputError(f"{name!r} is not minilm, hashed or PROVIDER:MODEL", field="embeddings")
    from langchain.embeddings import init_embeddings

    try:
        return init_embeddings(name)
    except Exception as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"{name!r}: {line}", field="embeddings") from error


async def know_catalog(
    dataset: Dataset, embeddings: Embeddings, name: str, display: ProgressDisplay
) -> CatalogKnowledge:
    """Embed the items and discover their features."""
    with display.phase("Embedding the items") as report:

        def embed(check: Callable[[], None]) -> npt.NDArray[np.float32]:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            return embed_items(dataset.catalog, embeddings, name, cache_folder(), on_progress)

        vectors = await run_blocking(embed)
        report(len(vectors), len(vectors))
    counted = item_counts(dataset.train, dataset.catalog)
    counts = dict(zip(dataset.catalog.item_ids, counted.tolist(), strict=True))
    features = await asyncio.to_thread(discover_features, dataset.catalog, vectors, counts)
    return CatalogKnowledge(vectors, features, counts)


async def embedded_model(
    dataset: Dataset, knowledge: CatalogKnowledge, display: ProgressDisplay, steps: int | None
) -> CatalogChatModel:
    """The catalogue's own small model, trained on first use."""
    title = "Embedded model, trained on first use"
    with display.phase(title) as report:

        def obtain(check: Callable[[], None]) -> CatalogChatModel:
            from agentrec.embedded_model.chat_model import CatalogChatModel
            from agentrec.embedded_model.teaching.model_cache import Recipe, obtain_model
            from agentrec.embedded_model.teaching.training import TrainingPlan

            recipe = Recipe()
            if steps is not None:
                recipe = replace(recipe, plan=TrainingPlan(steps=steps))

            def on_step(done: int, total: int) -> None:
                report(done, total)
                check()

            model = obtain_model(
                dataset.catalog,
                knowledge.features,
                knowledge.counts,
                cache_folder(),
                recipe,
                on_step,
            )
            report(recipe.plan.steps, recipe.plan.steps)
            return CatalogChatModel(catalog_model=model)

        return await run_blocking(obtain)


def named_model(llm: LlmSettings) -> tuple[BaseChatModel, str] | None:
    """The chat model that was named, and the name under which its answers are kept.

    Returns:
        ``None`` where none is named: the embedded one is to be taught first.

    Raises:
        InputError: If the model cannot be opened, or settings of one are there and it is not.
    """
    given = llm.given
    if llm.name is None:
        if given:
            names = ", ".join(sorted(given))
            raise InputError(f"{names} is set, and no model: name one", field="llm.name")
        return None
    return opened_model(llm.name, given, llm.timeout)


def opened_model(
    name: str, given: Mapping[str, object], patience: float
) -> tuple[BaseChatModel, str]:
    """A chat model, and the name under which its answers are kept.

    Args:
        name: As ``PROVIDER:MODEL``.
        given: Its parameters.
        patience: For how many seconds an answer is waited for, above 0.

    Raises:
        InputError: If the model cannot be opened.
    """
    model = open_chat_model(name, given, timeout=patience)
    if name.partition(":")[0] == EMBEDDED:
        from agentrec.embedded_model.chat_model import CatalogChatModel

        if isinstance(model, CatalogChatModel):
            # Its folder says nothing of what is in it: it may be tuned, or taught again.
            return model, f"{EMBEDDED}:{model.catalog_model.weights_hash[:16]}"
    return model, model_identity(name, model, given)


def import_for_model(llm: LlmSettings) -> None:
    """Import the embedded model's libraries if it is asked, which takes seconds.

    For commands, before their event loop runs: there Ctrl-C ends an import at once, while one in
    a loop or in a thread is waited for.
    """
    if llm.name is None or llm.name.partition(":")[0] == EMBEDDED:
        import_module("agentrec.embedded_model.chat_model")
        import_module("agentrec.embedded_model.teaching.model_cache")


def use_one_thread() -> None:
    """Small networks lose more than they win by a second compute thread on a busy machine."""
    torch.set_num_threads(1)
