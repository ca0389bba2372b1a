"""The parts of a run, open: its data, its model behind the journal, its knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.reports.tables import print_usage
from agentrec.assembly import (
    CatalogKnowledge,
    embedded_model,
    know_catalog,
    load_data,
    named_model,
    open_embeddings,
    opened_model,
)
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal.journal import CallJournal
from agentrec.llm.limits.limits import CallLimiter
from agentrec.llm.prompts.templates import Prompts
from agentrec.llm.providers.chat_models import close_client
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.progress import ProgressDisplay
from agentrec.runs.manifest import manifest_of, run_name
from agentrec.runs.run_folder import Json, RunFolder
from agentrec.runs.usage_report import UsageReport, open_account
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.settings.model_settings import LlmSettings
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.qdrant import QdrantHintStore

PATIENCE = 1.0
"""For how many seconds a run that is stopped waits for answers that are on their way."""


@dataclass(frozen=True)
class ResolvedRun:
    """What can be had of a run in seconds, so that what is wrong is told before anything long.

    Attributes:
        settings: What it is made with.
        dataset: Its sessions.
        prompts: Its prompts.
        named: The chat model and its identity; ``None`` for the embedded one.
        manifest: What it is made of.
        folder: Where it is.
    """

    settings: RunSettings
    dataset: Dataset
    prompts: Prompts
    named: tuple[BaseChatModel, str] | None
    manifest: Json
    folder: RunFolder


@dataclass(frozen=True)
class OpenRun:
    """A run that is open.

    Attributes:
        settings: What it is made with.
        dataset: Its sessions.
        knowledge: What is known of the items.
        components: The parts of its graphs; without a policy.
        folder: Where it is.
        display: Where progress is shown.
        journal: Every answer.
        account: What all models of the run spend together; ``None`` where nothing bounds it.
    """

    settings: RunSettings
    dataset: Dataset
    knowledge: CatalogKnowledge
    components: Components
    folder: RunFolder
    display: ProgressDisplay
    journal: CallJournal
    account: BudgetAccount | None = None

    @property
    def concurrency(self) -> int:
        """Most model calls in flight."""
        return self.settings.limits.max_concurrency


async def resolve_run(settings: RunSettings, console: Console) -> ResolvedRun:
    """Load what a run needs first, and see that it can be had.

    Raises:
        InputError: If a setting or a file cannot be used.
        FetchError: If the data has to be downloaded and cannot be.
    """
    prompts = await asyncio.to_thread(Prompts.load, settings.prompts)
    dataset = await load_data(settings)
    for note in dataset.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    open_embeddings(settings.embeddings)
    named = named_model(settings.llm)
    manifest = manifest_of(settings, dataset, prompts, None if named is None else named[1])
    return ResolvedRun(settings, dataset, prompts, named, manifest, RunFolder(settings.run))


@asynccontextmanager
async def open_run(
    place: ResolvedRun,
    console: Console,
    *,
    report_usage: bool = True,
    calls: Path | None = None,
    usage: Path | None = None,
    knowledge_base: Path | None = None,
) -> AsyncIterator[OpenRun]:
    """Open the journal, the model and the knowledge base; at the end tell what calls came to.

    Args:
        place: The run; its folder has been begun.
        console: Where progress and usage are shown.
        report_usage: Whether usage is shown where nothing new was asked.
        calls: Another call journal than the run's.
        usage: Where to write what calls came to, if not into the run; whoever wants it there
            tells of it. Of another journal nothing is written into the run.
        knowledge_base: Another folder of hints than the run's: a copy of it.

    Raises:
        InputError: If a price is missing where a budget needs one.
        StoreError: If another process has the knowledge base open.
    """
    settings, dataset, folder = place.settings, place.dataset, place.folder
    display = ConsoleProgress(console)
    embeddings = open_embeddings(settings.embeddings)
    async with await CallJournal.open(calls or folder.calls) as journal:
        if calls is not None:
            # What the run has learnt of its model need not be asked again, and paid for.
            with suppress(InputError):
                await journal.take_facts(folder.calls)
        # Before anything long: a price may be missing.
        account = await open_account(settings, journal)
        known, named = len(journal), place.named
        if account is not None and named is not None:
            account.check(named[1])
        knowledge = await know_catalog(dataset, embeddings, settings.embeddings, display)
        if named is None:
            model = await embedded_model(dataset, knowledge, display, settings.lm_steps)
            named = (model, model.catalog_model.name)
        dimension = knowledge.text_vectors.shape[1]
        async with await QdrantHintStore.open(
            knowledge_base or folder.knowledge_base, dimension, embedding_model=settings.embeddings
        ) as store:
            gateway = ModelGateway(
                *named,
                journal,
                limiter=CallLimiter(settings.limits.limits()),
                retries=settings.retries.policy(settings.llm.timeout),
                account=account,
                prices=settings.prices.table(),
                structured=settings.llm.structured,
            )
            components = Components(
                catalog=dataset.catalog,
                model=gateway,
                prompts=place.prompts,
                embeddings=embeddings,
                encoder=RecencySessionEncoder(
                    dataset.catalog,
                    knowledge.features,
                    knowledge.text_vectors,
                    blocks=settings.state_blocks,
                ),
                hint_store=store,
                hint_policy=NoHintPolicy(),
                seed=settings.seed,
                shuffles=settings.llm.shuffles,
                max_candidates=settings.llm.max_candidates,
                label_length=settings.llm.label_length,
                hints_offered=settings.policy.hints_offered(settings.max_hints),
                max_hints=settings.max_hints,
                run_name=run_name(place.manifest),
                **settings.explore.fields(gateway, place.prompts),
            )
            parts = OpenRun(
                settings, dataset, knowledge, components, folder, display, journal, account
            )
            patience = None
            try:
                yield parts
            except (asyncio.CancelledError, KeyboardInterrupt):
                # Whoever stops a run wants the prompt back.
                patience = PATIENCE
                raise
            finally:
                # Also of a run that is stopped: what was paid is what people want to know then.
                await gateway.aclose(patience)
                report = await UsageReport.of(journal, settings.prices.table())
                # Another journal says nothing of what the run itself came to.
                told = usage or (folder.usage if calls is None else None)
                if told is not None:
                    await asyncio.to_thread(report.save, told)
                if usage is None and (report_usage or len(journal) > known):
                    print_usage(report, console)
                await close_client(named[0])


def second_model(name: str, llm: LlmSettings) -> tuple[BaseChatModel, str]:
    """Open a chat model that is named, and say under which name its answers are kept.

    Args:
        name: As ``PROVIDER:MODEL``.
        llm: How patiently the run's models are asked.

    Raises:
        InputError: If the model cannot be opened.
    """
    return opened_model(name, {}, llm.timeout)


@asynccontextmanager
async def with_model(
    parts: OpenRun, model: BaseChatModel, identity: str
) -> AsyncIterator[Components]:
    """The parts of a run's graphs with another model; its answers are kept before this ends.

    Args:
        parts: The run.
        model: The other model.
        identity: The name under which its answers are kept.

    Raises:
        InputError: If the budget is of money, and the model has no price.
    """
    settings = parts.settings
    if parts.account is not None:
        parts.account.check(identity)
    gateway = ModelGateway(
        model,
        identity,
        parts.journal,
        limiter=CallLimiter(settings.limits.limits()),
        retries=settings.retries.policy(settings.llm.timeout),
        account=parts.account,
        prices=settings.prices.table(),
        structured=settings.llm.structured,
    )
    patience = None
    try:
        yield replace(parts.components, model=gateway)
    except (asyncio.CancelledError, KeyboardInterrupt):
        patience = PATIENCE
        raise
    finally:
        await gateway.aclose(patience)
        await close_client(model)
