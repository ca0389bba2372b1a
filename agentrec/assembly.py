"""Putting components together: the one way in which commands and programs open a recommender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.components import Components
from agentrec.contracts import HintPolicy, HintStore
from agentrec.data import item_counts
from agentrec.data.fetching import cache_folder
from agentrec.data.item_features import ItemFeatures, discover_features
from agentrec.errors import InputError
from agentrec.graphs.hint_learning.arbiter import arbiter_named
from agentrec.llm.chat_models import close_client
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.prompts.templates import Prompts
from agentrec.llm.rate_limits import CallLimiter
from agentrec.named_components import NamedEmbeddings, NamedModel, open_hint_store
from agentrec.progress import ProgressDisplay, run_blocking
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.session_encoding.item_vectors import embed_items
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

if TYPE_CHECKING:
    # Importing the embedded model takes seconds; those who use another model need not wait.
    from agentrec.embedded_model.chat_model import CatalogChatModel

PATIENCE = 1.0
"""How many seconds a recommender that is stopped waits for answers on their way."""


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


@dataclass(frozen=True)
class Ingredients:
    """What components are made of.

    Attributes:
        settings: What is set.
        catalog: The items.
        model: The chat model; ``None`` for the embedded one, taught on first use.
        embeddings: Text embeddings.
        prompts: The prompts.
        hints: Where the hints are, or their store.
        policy: Chooses hints.
        train: Training sessions, which say how well known items are; may be none.
        journal: File that keeps every answer; ``None`` to keep answers in memory only.
        facts: Another journal, whose facts about the model are taken over.
        run_name: Name of the run, for the provenance of hints.
        display: Where progress is shown.
    """

    settings: RunSettings
    catalog: Catalog
    model: NamedModel | None
    embeddings: NamedEmbeddings
    prompts: Prompts
    hints: Path | str | HintStore
    policy: HintPolicy
    train: Sequence[Session] = ()
    journal: Path | None = None
    facts: Path | None = None
    run_name: str = ""
    display: ProgressDisplay = field(default_factory=ProgressDisplay)


@dataclass(frozen=True)
class Assembly:
    """Open components, and what they share.

    Attributes:
        components: The components.
        knowledge: What is known of the items.
        journal: Every answer; ``None`` if they are kept in memory only.
        account: The budget that all models share; ``None`` without one.
    """

    components: Components
    knowledge: CatalogKnowledge
    journal: CallJournal | None
    account: BudgetAccount | None


@asynccontextmanager
async def assemble(
    ingredients: Ingredients,
    on_closing: Callable[[CallJournal | None], Awaitable[None]] | None = None,
) -> AsyncIterator[Assembly]:
    """Open components for as long as the block lasts.

    Args:
        ingredients: What to make them of.
        on_closing: Called at the end with the journal, when every answer is in it, and before
            connections are closed.

    Raises:
        InputError: If a price is missing where a budget needs one, or a file cannot be used.
        StoreError: If the hint store cannot be opened.
    """
    settings, embeddings = ingredients.settings, ingredients.embeddings
    async with AsyncExitStack() as stack:
        journal = await _open_journal(ingredients, stack)
        # Before anything long: a price may be missing.
        account = await _open_account(settings, journal)
        named = ingredients.model
        if account is not None and named is not None:
            account.check(named.identity)
        knowledge = await know_catalog(
            ingredients.catalog, ingredients.train, embeddings, ingredients.display
        )
        if named is None:
            model = await teach_embedded_model(
                ingredients.catalog, knowledge, ingredients.display, settings.lm_steps
            )
            named = NamedModel(model, model.catalog_model.name)
        stack.push_async_callback(close_client, named.model)
        dimension = knowledge.text_vectors.shape[1]
        store = await stack.enter_async_context(
            open_hint_store(ingredients.hints, dimension, embeddings.name)
        )
        if on_closing is not None:
            stack.push_async_callback(on_closing, journal)
        gateway = await stack.enter_async_context(open_gateway(named, settings, journal, account))
        components = Components(
            catalog=ingredients.catalog,
            model=gateway,
            prompts=ingredients.prompts,
            embeddings=embeddings.embeddings,
            encoder=RecencySessionEncoder(
                ingredients.catalog,
                knowledge.features,
                knowledge.text_vectors,
                blocks=settings.state_blocks,
            ),
            hint_store=store,
            hint_policy=ingredients.policy,
            hint_arbiter=arbiter_named(settings.explore.arbiter, gateway, ingredients.prompts),
            run_name=ingredients.run_name,
            **component_settings(settings),
        )
        yield Assembly(components, knowledge, journal, account)


def component_settings(settings: RunSettings) -> dict[str, Any]:
    """Return the fields of ``Components`` that settings of the same name decide."""
    known = {each.name for each in fields(Components) if each.default is not MISSING}
    found: dict[str, Any] = {
        "hints_offered": settings.policy.hints_offered(settings.max_hints),
        "hint_similarity": settings.explore.similarity,
        "hint_grey_zone": settings.explore.grey_zone,
    }
    for section in (settings.llm, settings.explore, settings):
        found |= {name: value for name, value in section if name in known}
    return found


@asynccontextmanager
async def open_gateway(
    named: NamedModel,
    settings: RunSettings,
    journal: CallJournal | None,
    account: BudgetAccount | None,
) -> AsyncIterator[ModelGateway]:
    """Open the gateway to a model; its answers are kept before the block ends.

    Raises:
        InputError: If the budget is of money, and the model has no price.
    """
    if account is not None:
        account.check(named.identity)
    gateway = ModelGateway(
        named.model,
        named.identity,
        journal,
        limiter=CallLimiter(settings.limits.limits()),
        retries=settings.retries.policy(settings.llm.timeout),
        account=account,
        prices=settings.prices.table(),
        structured=settings.llm.structured,
    )
    patience = None
    try:
        yield gateway
    except (asyncio.CancelledError, KeyboardInterrupt):
        # Whoever stops a command wants the prompt back.
        patience = PATIENCE
        raise
    finally:
        await gateway.aclose(patience)


async def know_catalog(
    catalog: Catalog,
    train: Sequence[Session],
    embeddings: NamedEmbeddings,
    display: ProgressDisplay,
) -> CatalogKnowledge:
    """Embed the items and discover their features.

    Args:
        catalog: The items.
        train: Training sessions, which say how often items were chosen; may be none.
        embeddings: Text embeddings; by their name item vectors are kept in the user's cache.
        display: Where progress is shown.
    """
    with display.phase("Embedding the items") as report:

        def embed(check: Callable[[], None]) -> npt.NDArray[np.float32]:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            name = embeddings.cache_name()
            return embed_items(catalog, embeddings.embeddings, name, cache_folder(), on_progress)

        vectors = await run_blocking(embed)
        report(len(vectors), len(vectors))
    counts: Mapping[str, int] = {}
    if train:
        counted = item_counts(train, catalog)
        counts = dict(zip(catalog.item_ids, counted.tolist(), strict=True))
    features = await asyncio.to_thread(discover_features, catalog, vectors, counts)
    return CatalogKnowledge(vectors, features, counts)


async def teach_embedded_model(
    catalog: Catalog, knowledge: CatalogKnowledge, display: ProgressDisplay, steps: int | None
) -> CatalogChatModel:
    """Return the catalogue's own small model, taught on first use and kept in the user's cache.

    Args:
        catalog: The items.
        knowledge: What is known of them.
        display: Where progress is shown.
        steps: Training steps, at least 1; ``None`` for the recipe's.
    """
    with display.phase("Embedded model, trained on first use") as report:

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
                catalog, knowledge.features, knowledge.counts, cache_folder(), recipe, on_step
            )
            report(recipe.plan.steps, recipe.plan.steps)
            return CatalogChatModel(catalog_model=model)

        return await run_blocking(obtain)


def use_one_thread() -> None:
    """Have torch compute in one thread: a second one costs small networks more than it brings."""
    import torch

    torch.set_num_threads(1)


async def _open_journal(ingredients: Ingredients, stack: AsyncExitStack) -> CallJournal | None:
    if ingredients.journal is None:
        return None
    journal = await stack.enter_async_context(await CallJournal.open(ingredients.journal))
    if ingredients.facts is not None:
        # What is known of the model need not be asked and paid for again.
        with suppress(InputError):
            await journal.take_facts(ingredients.facts)
    return journal


async def _open_account(settings: RunSettings, journal: CallJournal | None) -> BudgetAccount | None:
    """Return the budget less what earlier attempts spent; ``None`` without a budget."""
    budget = settings.budget.budget()
    if budget is None:
        return None
    spendings = () if journal is None else await journal.spendings()
    return BudgetAccount(budget, settings.prices.table(), spendings)
