"""The phases of a run: explore, reward, train, evaluate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from agentrec.app.answer_report import report_answers
from agentrec.app.evaluating import DIFFERENCES, baseline_ranks, policy_rankings, target_ranks
from agentrec.app.exploring import explore
from agentrec.app.parts import CatalogKnowledge
from agentrec.app.progress import ProgressDisplay, run_blocking
from agentrec.app.rewarding import fill_reward_table
from agentrec.app.settings import DemoSettings
from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.contracts import HintPolicy
from agentrec.data import Dataset
from agentrec.evaluation.report import MetricsReport, build_report
from agentrec.graphs.hint_learning import build_hint_learning_graph
from agentrec.graphs.offering import offer_to
from agentrec.hint_offers import RewardedOffer
from agentrec.hints import Hint
from agentrec.llm.journal import CallJournal
from agentrec.policies.best_single import BestSingleHintTrainer
from agentrec.policies.fixed import NoHintPolicy, RandomHintPolicy
from agentrec.policies.no_regret_gate import Gate
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.rankings import Ranking
from agentrec.runs.run_folder import RunFolder, write_json
from agentrec.sessions import Session


class ClosedLoop:
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
        self._concurrency = settings.limits.max_concurrency
        self._dataset = dataset
        self._knowledge = knowledge
        self._components = components
        self._folder = folder
        self._display = display
        self._journal = journal
        self._rewarded = dataset.train[-settings.max_rewarded :]

    async def run(self) -> None:
        """Explore, reward, train, evaluate."""
        hints = await self._explored()
        train = await self._table("train", self._rewarded, hints)
        valid = await self._table("valid", self._dataset.valid, hints)
        train_offer = await offer_to(self._rewarded, self._components)
        valid_offer = await offer_to(self._dataset.valid, self._components)
        # Half of the validation sessions pick, the other half say whether it may go live.
        picking = slice(0, None, 2)
        measured = valid.rewarded(valid_offer)
        policy = await self._policy("policy", train.rewarded(train_offer), measured.rows(picking))
        seed = self._settings.seed
        control = await self._policy(
            "noise-control",
            train.shuffled_across_sessions(seed).rewarded(train_offer),
            valid.shuffled_across_sessions(seed + 1).rewarded(valid_offer).rows(picking),
        )
        best = BestSingleHintTrainer().fit(measured.rows(picking))
        if hints:
            await asyncio.to_thread(
                self._let_live, policy, {"best_single_hint": best}, measured.rows(slice(1, None, 2))
            )
        methods: dict[str, HintPolicy] = {
            "no_hint": NoHintPolicy(),
            "random_hint": RandomHintPolicy(seed),
            "best_single_hint": BestSingleHintTrainer().fit(measured),
            "policy": policy,
            "noise_control": control,
        }
        test = self._dataset.test
        ranks = await asyncio.to_thread(baseline_ranks, self._dataset, self._knowledge, seed)
        rankings: dict[str, list[Ranking]] = {}
        with self._display.counting("Test sessions", len(test) * len(methods)) as advance:
            for name, chosen in methods.items():
                parts = replace(self._components, hint_policy=chosen)
                made = await policy_rankings(test, parts, self._concurrency, advance)
                rankings[name], ranks[name] = made, target_ranks(test, made)
        answers = await asyncio.to_thread(report_answers, test, rankings, self._components)
        report = await asyncio.to_thread(
            build_report, ranks, DIFFERENCES, self._calls(policy, control, train), seed
        )
        await asyncio.to_thread(answers.save, self._folder.answers)
        await asyncio.to_thread(_save_report, self._folder, report)

    async def _explored(self) -> tuple[Hint, ...]:
        """Explore; on a second attempt every answer is in the journal and nothing is asked."""
        sessions = spread(self._dataset.train, self._settings.max_explored)
        with self._display.counting("Learning hints from errors", len(sessions)) as advance:
            explored = await explore(
                sessions,
                self._components,
                build_hint_learning_graph(),
                self._concurrency,
                advance,
                probes=self._dataset.train,
                num_probes=self._settings.num_probes,
                rules=self._settings.explore.rules(),
            )
        summary = {
            "explored": explored.explored,
            "errors": explored.errors,
            "stored": len(explored.hints),
            "refused": explored.refusals,
            "questions": explored.questions,
            "ended": explored.ended or "the sessions were used up",
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
                sessions, hints, self._components, self._concurrency, advance
            )
        await asyncio.to_thread(table.save, self._folder.rewards(split))
        return table

    async def _policy(self, name: str, train: RewardedOffer, valid: RewardedOffer) -> HintPolicy:
        if not train.offer.hints:
            return NoHintPolicy()
        folder = self._folder.policy(name)
        trainer = ScoringPPOTrainer(self._settings.ppo)
        with self._display.phase(f"Training: {name}") as report:

            def fit(check: Callable[[], None]) -> PPOHintPolicy:
                def on_progress(done: int, total: int) -> None:
                    report(done, total)
                    check()

                policy = trainer.fit(
                    train, valid, seed=self._settings.seed, on_progress=on_progress
                )
                policy.save(folder)
                return policy

            return await run_blocking(fit)

    def _let_live(
        self, policy: HintPolicy, fallbacks: Mapping[str, HintPolicy], held_out: RewardedOffer
    ) -> None:
        """Judge what may go live, and write down why; blocks."""
        if len(held_out) == 0:
            return
        gate = Gate(seed=self._settings.seed)
        verdict = gate.judge({"policy": policy}, held_out, fallbacks=fallbacks)
        write_json(self._folder.gate, verdict.model_dump(mode="json"))

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


def spread(sessions: Sequence[Session], limit: int) -> list[Session]:
    """At most ``limit`` sessions, evenly spread over time."""
    if len(sessions) <= limit:
        return list(sessions)
    places = np.linspace(0, len(sessions) - 1, limit).round().astype(int)
    return [sessions[place] for place in dict.fromkeys(places.tolist())]


def _save_report(folder: RunFolder, report: MetricsReport) -> None:
    content = json.dumps(report.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(folder.metrics, content.encode())
