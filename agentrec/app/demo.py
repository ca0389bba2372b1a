"""The closed loop: errors, hints, rewards, policy, and what it gains on later sessions."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console

from agentrec.app.evaluating import DIFFERENCES, baseline_ranks, policy_ranks
from agentrec.app.exploring import explore
from agentrec.app.parts import (
    CatalogKnowledge,
    embedded_model,
    know_catalog,
    load_data,
    named_model,
    open_embeddings,
    use_one_thread,
)
from agentrec.app.progress import ProgressDisplay, run_blocking
from agentrec.app.rewarding import fill_reward_table
from agentrec.app.settings import DemoSettings
from agentrec.app.tables import print_exploration, print_hints, print_report
from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.contracts import HintPolicy
from agentrec.data import Dataset
from agentrec.evaluation.report import MetricsReport, build_report
from agentrec.graphs.hint_learning import build_hint_learning_graph
from agentrec.hints import Hint
from agentrec.llm.catalog_lm.teaching import RECIPE_VERSION
from agentrec.llm.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.prompts import Prompts
from agentrec.llm.session_encoder import RecencySessionEncoder
from agentrec.policies.fixed import (
    FixedHintPolicy,
    NoHintPolicy,
    RandomHintPolicy,
    best_single_hint,
)
from agentrec.policies.ppo_policy import PPOHintPolicy
from agentrec.policies.ppo_trainer import PPOTrainer
from agentrec.policies.reward_table import RewardTable
from agentrec.runs.run_folder import RunFolder, write_json
from agentrec.sessions import Session
from agentrec.stores.qdrant import QdrantHintStore

_VERSIONED = ("agentrec", "langchain-core", "langgraph", "qdrant-client", "torch", "transformers")


async def run_demo(settings: DemoSettings, console: Console) -> MetricsReport:
    """Run the loop, or go on with it, and print what came out.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        FetchError: If something that has to be downloaded cannot be had.
        ModelCallError: If a model call failed for good; run again to go on.
    """
    use_one_thread()
    display = ProgressDisplay(console)
    prompts = await asyncio.to_thread(Prompts.load, settings.prompts)
    dataset = await load_data(settings)
    for note in dataset.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    embeddings = open_embeddings(settings.embeddings)
    named = None if settings.llm is None else named_model(settings.llm)
    folder = RunFolder(settings.run)
    await asyncio.to_thread(folder.begin, _manifest(settings, dataset, prompts))
    finished = await asyncio.to_thread(_finished_report, folder)
    if finished is None:
        knowledge = await know_catalog(dataset, embeddings, settings.embeddings, display)
        if named is None:
            model = await embedded_model(dataset, knowledge, display, settings.lm_steps)
            named = (model, model.catalog_model.name)
        async with (
            await CallJournal.open(folder.calls) as journal,
            await QdrantHintStore.open(
                folder.knowledge_base, knowledge.text_vectors.shape[1]
            ) as store,
        ):
            gateway = ModelGateway(
                named[0],
                named[1],
                journal,
                max_concurrency=settings.concurrency,
                requests_per_minute=settings.requests_per_minute,
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
                hints_offered=max(32, settings.max_hints),
                max_hints=settings.max_hints,
            )
            try:
                run = _Run(settings, dataset, knowledge, components, folder, display, journal)
                await run.loop()
            finally:
                await gateway.aclose()
        finished = await asyncio.to_thread(_finished_report, folder)
        if finished is None:
            raise RuntimeError("the run ended without a report")
    else:
        console.print("This run is finished; nothing is computed again.")
    print_exploration(folder.exploration, console)
    print_hints(folder.hints, console)
    print_report(finished, dataset.name, console)
    console.print(f"Everything of this run is in {folder.path}", markup=False, highlight=False)
    return finished


class _Run:
    """The phases of one run; each one finds what an earlier attempt left."""

    def __init__(
        self,
        settings: DemoSettings,
        dataset: Dataset,
        knowledge: CatalogKnowledge,
        components: Components,
        folder: RunFolder,
        display: ProgressDisplay,
        journal: CallJournal,
    ) -> None:
        self._settings = settings
        self._dataset = dataset
        self._knowledge = knowledge
        self._components = components
        self._folder = folder
        self._display = display
        self._journal = journal
        self._rewarded = dataset.train[-settings.max_rewarded :]

    async def loop(self) -> None:
        """Explore, reward, train, evaluate."""
        hints = await self._explored()
        train = await self._table("train", self._rewarded, hints)
        valid = await self._table("valid", self._dataset.valid, hints)
        policy = await self._policy("policy", train, valid)
        seed = self._settings.seed
        control = await self._policy(
            "noise-control",
            train.shuffled_across_sessions(seed),
            valid.shuffled_across_sessions(seed + 1),
        )
        best = best_single_hint(valid)
        methods: dict[str, HintPolicy] = {
            "no_hint": NoHintPolicy(),
            "random_hint": RandomHintPolicy(seed),
            "best_single_hint": NoHintPolicy() if best is None else FixedHintPolicy(best),
            "policy": policy,
            "noise_control": control,
        }
        test = self._dataset.test
        ranks = await asyncio.to_thread(baseline_ranks, self._dataset, self._knowledge, seed)
        with self._display.counting("Test sessions", len(test) * len(methods)) as advance:
            for name, chosen in methods.items():
                parts = replace(self._components, hint_policy=chosen)
                ranks[name] = await policy_ranks(test, parts, self._settings.concurrency, advance)
        report = await asyncio.to_thread(
            build_report, ranks, DIFFERENCES, self._calls(policy, control, train), seed
        )
        await asyncio.to_thread(_save_report, self._folder, report)

    async def _explored(self) -> tuple[Hint, ...]:
        """Explore; on a second attempt every answer is in the journal and nothing is asked."""
        sessions = _spread(self._dataset.train, self._settings.max_explored)
        with self._display.counting("Learning hints from errors", len(sessions)) as advance:
            explored = await explore(
                sessions,
                self._components,
                build_hint_learning_graph(),
                self._settings.concurrency,
                advance,
                probes=self._dataset.train,
                num_probes=self._settings.num_probes,
            )
        summary = {
            "explored": explored.explored,
            "errors": explored.errors,
            "stored": len(explored.hints),
            "refused": explored.refusals,
        }
        await asyncio.to_thread(write_json, self._folder.exploration, summary)
        lines = [hint.model_dump_json() + "\n" for hint in explored.hints]
        await asyncio.to_thread(write_atomically, self._folder.hints, "".join(lines).encode())
        return explored.hints

    async def _table(
        self, split: str, sessions: Sequence[Session], hints: Sequence[Hint]
    ) -> RewardTable:
        cells = len(sessions) * (1 + len(hints))
        with self._display.counting(f"Rewards of hints, {split} sessions", cells) as advance:
            table = await fill_reward_table(
                sessions, hints, self._components, self._settings.concurrency, advance
            )
        await asyncio.to_thread(table.save, self._folder.rewards(split))
        return table

    async def _policy(self, name: str, train: RewardTable, valid: RewardTable) -> HintPolicy:
        if not train.hint_ids:
            return NoHintPolicy()
        folder = self._folder.policy(name)
        states = self._states(self._rewarded)
        valid_states = self._states(self._dataset.valid)
        trainer = PPOTrainer(self._settings.ppo)
        total = self._settings.ppo.iterations * self._settings.ppo.members
        with self._display.counting(f"Training: {name}", total) as advance:

            def fit(check: Callable[[], None]) -> PPOHintPolicy:
                def on_progress(_: object) -> None:
                    advance()
                    check()

                result = trainer.fit(
                    states, train, self._settings.seed, valid_states, valid, on_progress
                )
                result.policy.save(folder)
                return result.policy

            return await run_blocking(fit)

    def _states(self, sessions: Sequence[Session]) -> np.ndarray:
        return np.stack([self._components.encoder.state(session) for session in sessions])

    def _calls(
        self, policy: HintPolicy, control: HintPolicy, train: RewardTable
    ) -> Mapping[str, int | float]:
        """Calls made in this run's life, answered from the journal, and never needed at all."""
        cached = sum(self._components.model.calls["cached"].values())
        config = self._settings.ppo
        rollouts = config.iterations * config.members * config.samples_per_session
        trained = sum(isinstance(p, PPOHintPolicy) for p in (policy, control))
        return {
            "made": len(self._journal),
            "cached": cached,
            "saved_by_reward_table": trained * rollouts * len(train.session_ids),
            "input_tokens": self._journal.tokens["input"],
            "output_tokens": self._journal.tokens["output"],
        }


def _spread(sessions: Sequence[Session], limit: int) -> list[Session]:
    """At most ``limit`` sessions, evenly spread over time."""
    if len(sessions) <= limit:
        return list(sessions)
    places = np.linspace(0, len(sessions) - 1, limit).round().astype(int)
    return [sessions[place] for place in dict.fromkeys(places.tolist())]


def _manifest(settings: DemoSettings, dataset: Dataset, prompts: Prompts) -> Mapping[str, object]:
    decisive = settings.model_dump(
        mode="json", exclude={"data", "run", "prompts", "concurrency", "requests_per_minute"}
    )
    identity = {
        **decisive,
        "llm": settings.llm or f"embedded, recipe {RECIPE_VERSION}",
        "data_hash": dataset.content_hash,
        "prompts_hash": prompts.content_hash,
    }
    sizes = {name: len(sessions) for name, sessions in dataset.splits()}
    return {
        "identity": identity,
        "data": {"name": dataset.name, "items": len(dataset.catalog), "sessions": sizes},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    }


def _finished_report(folder: RunFolder) -> MetricsReport | None:
    # What somebody took out of the folder comes back, at no cost: every answer is journaled.
    wanted = (folder.metrics, folder.hints, folder.exploration, folder.knowledge_base)
    if not all(path.exists() for path in wanted):
        return None
    return MetricsReport.model_validate_json(folder.metrics.read_bytes())


def _save_report(folder: RunFolder, report: MetricsReport) -> None:
    content = json.dumps(report.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(folder.metrics, content.encode())
