"""The phases of a run: explore, reward, train, evaluate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from agentrec.app.learning.exploration import explore
from agentrec.app.learning.run_backbone import obtain_backbone
from agentrec.app.learning.run_rewards import RunRewards, TrainingData
from agentrec.app.learning.target_ranks import (
    DIFFERENCES,
    baseline_ranks,
    baselines,
    policy_rankings,
    target_ranks,
)
from agentrec.app.policies.training import let_live, store_policy, train_policy
from agentrec.atomic_files import write_atomically
from agentrec.contracts import HintPolicy
from agentrec.evaluation.answer_quality import report_answers
from agentrec.evaluation.report import MetricsReport, build_report
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.hints import Hint
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.untrained import NoHintPolicy, RandomHintPolicy
from agentrec.policies.policy_files import EncoderRecord, StorableHintPolicy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.rankings import Ranking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import RunFolder, write_json
from agentrec.sessions import Session

NOISE_CONTROL = "noise_control"
"""Name of the policy that was trained on rewards moved between sessions and hints."""


class ClosedLoop:
    """The phases of one run; each one finds what an earlier attempt left.

    Args:
        parts: The run, open.
    """

    def __init__(self, parts: OpenRun) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._dataset = parts.dataset
        self._components = parts.components
        self._folder = parts.folder
        self._display = parts.display

    async def run(self) -> None:
        """Explore, reward, train, evaluate."""
        hints = await self._explored()
        seed = self._settings.seed
        rewards = RunRewards(self._parts, hints)
        trained: dict[str, StorableHintPolicy] = {
            "policy": NoHintPolicy(),
            "noise_control": NoHintPolicy(),
        }
        best: HintPolicy = NoHintPolicy()
        encoder = EncoderRecord.of(self._components.encoder, self._settings.embeddings)
        if hints:
            settings = self._settings.policy
            data = await rewards.training_data(settings.plan(seed), settings.shape)
            noise = await self._noise(rewards)
            for name, title, part in (
                ("policy", settings.kind, data),
                ("noise_control", NOISE_CONTROL, noise),
            ):
                folder = self._folder.policy(title)
                trained[name] = await train_policy(
                    title, settings, part, folder, self._display, seed=seed, encoder=encoder
                )
            valid = (await rewards.table("valid")).rewarded(await rewards.offer("valid"))
            best = BestSingleHintTrainer().fit(valid)
            await asyncio.to_thread(
                let_live,
                self._folder,
                settings.kind,
                trained["policy"],
                data,
                seed=seed,
                encoder=encoder,
            )
        else:
            await asyncio.to_thread(store_policy, NoHintPolicy(), self._folder.live, encoder)
        methods: dict[str, HintPolicy] = {
            "no_hint": NoHintPolicy(),
            "random_hint": RandomHintPolicy(seed),
            "best_single_hint": best,
            **trained,
        }
        test = self._dataset.test
        ranks = await self._baseline_ranks(test)
        rankings: dict[str, list[Ranking]] = {}
        with self._display.counting("Test sessions", len(test) * len(methods)) as advance:
            for name, chosen in methods.items():
                parts = replace(self._components, hint_policy=chosen)
                made = await policy_rankings(test, parts, self._parts.concurrency, advance)
                rankings[name], ranks[name] = made, target_ranks(test, made)
        answers = await asyncio.to_thread(report_answers, test, rankings, self._components)
        calls = self._calls(tuple(trained.values()), len(rewards.sessions("train")))
        report = await asyncio.to_thread(build_report, ranks, DIFFERENCES, calls, seed)
        await asyncio.to_thread(answers.save, self._folder.answers)
        await asyncio.to_thread(_save_report, self._folder, report)

    async def _baseline_ranks(self, test: Sequence[Session]) -> dict[str, list[int | None]]:
        """Ranks of the targets by what needs no language model, a recommender by ids trained."""
        backbone = await obtain_backbone(self._parts)

        def ranked() -> dict[str, list[int | None]]:
            seed, knowledge = self._settings.seed, self._parts.knowledge
            return baseline_ranks(baselines(self._dataset, knowledge, seed, backbone), test)

        return await asyncio.to_thread(ranked)

    async def _noise(self, rewards: RunRewards) -> TrainingData:
        """The same sessions, with rewards that have nothing to do with them."""
        settings, seed = self._settings.policy, self._settings.seed
        train = await rewards.table("train", settings.plan(seed))
        valid = await rewards.table("valid")
        offers = await rewards.offer("train"), await rewards.offer("valid")

        def made() -> TrainingData:
            moved = valid.shuffled_across_sessions(seed + 1).rewarded(offers[1], settings.shape)
            return TrainingData(
                train.shuffled_across_sessions(seed).rewarded(offers[0], settings.shape),
                moved.rows(slice(0, None, 2)),
                moved.rows(slice(1, None, 2)),
            )

        return await asyncio.to_thread(made)

    async def _explored(self) -> tuple[Hint, ...]:
        """Explore; on a second attempt every answer is in the journal and nothing is asked."""
        sessions = spread(self._dataset.train, self._settings.max_explored)
        with self._display.counting("Learning hints from errors", len(sessions)) as advance:
            explored = await explore(
                sessions,
                self._components,
                build_hint_learning_graph(),
                self._parts.concurrency,
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

    def _calls(
        self, policies: Sequence[HintPolicy], num_sessions: int
    ) -> Mapping[str, int | float]:
        """Calls made in this run's life, answered from the journal, and never needed at all."""
        journal = self._parts.journal
        # What a training that asks at every step would have asked.
        rollouts = sum(
            one.config.iterations * one.config.members * one.config.samples_per_session
            for one in policies
            if isinstance(one, PPOHintPolicy)
        )
        return {
            "made": len(journal),
            "cached": sum(self._components.gateway.calls["cached"].values()),
            "saved_by_reward_table": rollouts * num_sessions,
            "input_tokens": journal.tokens["input"],
            "output_tokens": journal.tokens["output"],
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
