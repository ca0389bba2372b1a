"""The demonstration: a run from its settings to what is printed at its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from rich.console import Console

from agentrec.app.accounts import UsageReport, open_account
from agentrec.app.answer_report import AnswerReport
from agentrec.app.closed_loop import ClosedLoop
from agentrec.app.dry_run import tell_plan
from agentrec.app.manifest import manifest_of, run_name
from agentrec.app.parts import (
    embedded_model,
    know_catalog,
    load_data,
    named_model,
    open_embeddings,
    use_one_thread,
)
from agentrec.app.progress import ProgressDisplay
from agentrec.app.settings import DemoSettings
from agentrec.app.tables import (
    print_answers,
    print_exploration,
    print_gate,
    print_hints,
    print_report,
    print_usage,
)
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.evaluation.report import MetricsReport
from agentrec.llm.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.limits import CallLimiter
from agentrec.llm.prompts import Prompts
from agentrec.llm.session_encoder import RecencySessionEncoder
from agentrec.policies.fixed import NoHintPolicy
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.qdrant import QdrantHintStore


async def run_demo(settings: DemoSettings, console: Console) -> MetricsReport:
    """Run the loop, or go on with it, and print what came out.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        FetchError: If something that has to be downloaded cannot be had.
        ModelCallError: If a model call failed for good, or the budget is spent; run again to go
            on.
    """
    use_one_thread()
    prompts, dataset, named = await _prepared(settings, console)
    folder = RunFolder(settings.run)
    name = None if named is None else named[1]
    manifest = manifest_of(settings, dataset, prompts, name)
    await asyncio.to_thread(folder.begin, manifest)
    finished = await asyncio.to_thread(_finished_report, folder)
    if finished is None:
        await _run(settings, dataset, prompts, named, folder, run_name(manifest), console)
        finished = await asyncio.to_thread(_finished_report, folder)
        if finished is None:
            raise RuntimeError("the run ended without a report")
    else:
        console.print("This run is finished; nothing is computed again.")
        _tell_usage(folder, console)
    print_exploration(folder.exploration, console)
    print_hints(folder.hints, console)
    print_answers(AnswerReport.load(folder.answers), console)
    print_report(finished, dataset.name, console)
    print_gate(folder.gate, console)
    # A path that is wrapped cannot be copied.
    console.print(
        f"Everything of this run is in {folder.path}", markup=False, highlight=False, soft_wrap=True
    )
    return finished


async def estimate_demo(settings: DemoSettings, console: Console) -> None:
    """Print what a run would cost; nothing is asked and nothing is written.

    Raises:
        InputError: If a setting or a file cannot be used.
        FetchError: If MovieLens-100K cannot be had.
    """
    prompts, dataset, named = await _prepared(settings, console)
    await tell_plan(settings, dataset, prompts, None if named is None else named[1], console)


async def _prepared(
    settings: DemoSettings, console: Console
) -> tuple[Prompts, Dataset, tuple[BaseChatModel, str] | None]:
    """What can be had in seconds, so that what is wrong with it is told before anything long."""
    prompts = await asyncio.to_thread(Prompts.load, settings.prompts)
    dataset = await load_data(settings)
    for note in dataset.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    open_embeddings(settings.embeddings)
    return prompts, dataset, named_model(settings.llm)


async def _run(
    settings: DemoSettings,
    dataset: Dataset,
    prompts: Prompts,
    named: tuple[BaseChatModel, str] | None,
    folder: RunFolder,
    run: str,
    console: Console,
) -> None:
    display = ProgressDisplay(console)
    embeddings = open_embeddings(settings.embeddings)
    async with await CallJournal.open(folder.calls) as journal:
        # Before anything long: a price may be missing.
        account = await open_account(settings, journal)
        if account is not None and named is not None:
            account.check(named[1])
        knowledge = await know_catalog(dataset, embeddings, settings.embeddings, display)
        if named is None:
            model = await embedded_model(dataset, knowledge, display, settings.lm_steps)
            named = (model, model.catalog_model.name)
        dimension = knowledge.text_vectors.shape[1]
        async with await QdrantHintStore.open(
            folder.knowledge_base, dimension, embedding_model=settings.embeddings
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
                prompts=prompts,
                embeddings=embeddings,
                encoder=RecencySessionEncoder(
                    dataset.catalog, knowledge.features, knowledge.text_vectors
                ),
                hint_store=store,
                hint_policy=NoHintPolicy(),
                seed=settings.seed,
                shuffles=settings.llm.shuffles,
                max_candidates=settings.llm.max_candidates,
                label_length=settings.llm.label_length,
                hints_offered=max(32, settings.max_hints),
                max_hints=settings.max_hints,
                run_name=run,
                **settings.explore.fields(gateway, prompts),
            )
            loop = ClosedLoop(settings, dataset, knowledge, components, folder, display, journal)
            try:
                await loop.run()
            finally:
                # Also of a run that is stopped: what was paid is what people want to know then.
                await gateway.aclose()
                usage = await UsageReport.of(journal, settings.prices.table())
                await asyncio.to_thread(usage.save, folder.usage)
                _tell_usage(folder, console)


def _tell_usage(folder: RunFolder, console: Console) -> None:
    if folder.usage.is_file():
        print_usage(UsageReport.load(folder.usage), console)


def _finished_report(folder: RunFolder) -> MetricsReport | None:
    # What somebody took out of the folder comes back, at no cost: every answer is journaled.
    wanted: tuple[Path, ...] = (folder.metrics, folder.hints, folder.exploration)
    wanted += (folder.answers, folder.knowledge_base)
    if not all(path.exists() for path in wanted):
        return None
    return MetricsReport.model_validate_json(folder.metrics.read_bytes())
