"""Opening a run: its data, its model behind the journal, its knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentrec.assembly import CatalogKnowledge, Ingredients, assemble, open_gateway, use_one_thread
from agentrec.components import Components
from agentrec.contracts import HintPolicy, HintStore
from agentrec.data import Dataset, load_folder, load_movielens
from agentrec.llm.chat_models import close_client
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.journal import CallJournal
from agentrec.llm.prompts.templates import Prompts
from agentrec.named_components import (
    NamedEmbeddings,
    NamedModel,
    model_of_settings,
    open_embeddings,
    open_policy,
)
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.progress import ProgressDisplay
from agentrec.runs.manifest import manifest_of, run_name, settings_in_manifest
from agentrec.runs.run_folder import Json, RunFolder
from agentrec.runs.usage_report import UsageReport
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import SettingsSources


@dataclass(frozen=True)
class ResolvedRun:
    """A run whose settings, data and model were found and checked; this takes seconds.

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
    named: NamedModel | None
    manifest: Json
    folder: RunFolder

    async def begin(self) -> None:
        """Write the manifest, or check that the run in the folder is this one.

        Raises:
            InputError: If the folder holds another run or something that is no run.
        """
        await asyncio.to_thread(self.folder.begin, self.manifest)

    async def live_policy(self) -> HintPolicy:
        """Load the policy that is in use; one that gives no hint if none went live.

        Raises:
            InputError: If it cannot be read.
        """
        live = self.folder.live
        return await asyncio.to_thread(
            lambda: open_policy(live) if live.is_dir() else NoHintPolicy()
        )


@dataclass(frozen=True)
class OpenRun:
    """A run that is open.

    Attributes:
        settings: What it is made with.
        dataset: Its sessions.
        knowledge: What is known of the items.
        components: The components of its graphs.
        folder: Where it is.
        display: Where progress is shown.
        journal: Every answer.
        account: What all models of the run spend together; ``None`` without a budget.
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
        """Most model calls at a time."""
        return self.settings.limits.max_concurrency


def settings_of_run(
    given: Mapping[str, Any], config: Path | None = None, *, must_exist: bool = True
) -> RunSettings:
    """Return the settings of the run that is named, with those given now in their place.

    Args:
        given: From the command line, nested like the settings themselves.
        config: A settings file; by default the one in the working directory, if there is one.
        must_exist: Whether there has to be a run; otherwise it may be one that is to begin.

    Raises:
        InputError: If there is no run, or a source of settings is wrong.
    """
    sources = SettingsSources(given, config)
    settings = sources.settings()
    folder = RunFolder(settings.run)
    if not must_exist and not folder.manifest.is_file():
        return settings
    return sources.settings(below=settings_in_manifest(folder))


async def load_data(settings: RunSettings) -> Dataset:
    """Load the sessions.

    Raises:
        InputError: If the folder cannot be used.
        FetchError: If MovieLens-100K cannot be downloaded.
    """
    negatives, seed = settings.negatives, settings.seed
    if settings.data is not None:
        return await asyncio.to_thread(load_folder, settings.data, negatives=negatives, seed=seed)
    return await asyncio.to_thread(load_movielens, negatives=negatives, seed=seed)


async def resolve_run(settings: RunSettings, display: ProgressDisplay | None = None) -> ResolvedRun:
    """Load what a run needs first, and check that it can be had; nothing is written.

    Args:
        settings: Those of the run.
        display: Where notes on the data are shown; nowhere by default.

    Raises:
        InputError: If a setting or a file cannot be used.
        FetchError: If data has to be downloaded and cannot be.
    """
    use_one_thread()
    prompts = await asyncio.to_thread(Prompts.load, settings.prompts)
    dataset = await load_data(settings)
    for note in dataset.notes:
        (display or ProgressDisplay()).say(f"note: {note}")
    open_embeddings(settings.embeddings)
    named = model_of_settings(settings.llm)
    manifest = manifest_of(settings, dataset, prompts, None if named is None else named.identity)
    return ResolvedRun(settings, dataset, prompts, named, manifest, RunFolder(settings.run))


@asynccontextmanager
async def open_run(
    resolved: ResolvedRun,
    display: ProgressDisplay | None = None,
    *,
    model: NamedModel | None = None,
    policy: HintPolicy | None = None,
    hints: Path | str | HintStore | None = None,
    calls: Path | None = None,
    usage: Path | None = None,
    on_usage: Callable[[UsageReport, bool], None] | None = None,
) -> AsyncIterator[OpenRun]:
    """Open a run, for as long as the block lasts.

    Args:
        resolved: The run; it has begun.
        display: Where progress is shown; nowhere by default.
        model: Another chat model than the run's.
        policy: Chooses hints; by default none is given.
        hints: Other hints than the run's; see ``open_hint_store``.
        calls: Another call journal than the run's; then no usage is written into the run.
        usage: Where to write what calls came to, if not into the run.
        on_usage: Called at the end with what calls came to, and whether any was made now.

    Raises:
        InputError: If a price is missing where a budget needs one.
        StoreError: If the hint store cannot be opened.
    """
    settings, folder = resolved.settings, resolved.folder
    display = display or ProgressDisplay()
    known = 0

    async def close(journal: CallJournal | None) -> None:
        # Also of a run that is stopped: then people want to know what was paid.
        if journal is None:
            return
        report = await UsageReport.of(journal, settings.prices.table())
        file = usage or (folder.usage if calls is None else None)
        if file is not None:
            await asyncio.to_thread(report.save, file)
        if on_usage is not None:
            on_usage(report, len(journal) > known)

    ingredients = Ingredients(
        settings=settings,
        catalog=resolved.dataset.catalog,
        model=model or resolved.named,
        embeddings=NamedEmbeddings(open_embeddings(settings.embeddings), settings.embeddings),
        prompts=resolved.prompts,
        hints=hints or settings.hints or folder.knowledge_base,
        policy=policy or NoHintPolicy(),
        train=resolved.dataset.train,
        journal=calls or folder.calls,
        facts=None if calls is None else folder.calls,
        run_name=run_name(resolved.manifest),
        display=display,
    )
    async with assemble(ingredients, close) as parts:
        if parts.journal is None:
            raise RuntimeError("a run has a journal")
        known = len(parts.journal)
        yield OpenRun(
            settings,
            resolved.dataset,
            parts.knowledge,
            parts.components,
            folder,
            display,
            parts.journal,
            parts.account,
        )


@asynccontextmanager
async def with_model(run: OpenRun, named: NamedModel) -> AsyncIterator[Components]:
    """Give the components of a run another model, behind the same journal and budget.

    Args:
        run: The run.
        named: The other model, such as a tuned one.

    Raises:
        InputError: If the budget is of money, and the model has no price.
    """
    try:
        async with open_gateway(named, run.settings, run.journal, run.account) as gateway:
            yield replace(run.components, model=gateway)
    finally:
        await close_client(named.model)
