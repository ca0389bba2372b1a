"""The phases of a run: explore, reward, train, evaluate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agentrec.app.learning.exploration import explore, spread
from agentrec.app.learning.run_baselines import baseline_ranks, rank_in
from agentrec.app.learning.run_rewards import RunRewards
from agentrec.app.policies.training import let_live, store_policy, train_policy
from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.contracts import HintPolicy
from agentrec.evaluation.answer_quality import report_answers
from agentrec.evaluation.report import build_report
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.graphs.recommendation.graph import RecommendationInput, build_recommendation_graph
from agentrec.hints import Hint
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.untrained import NoHintPolicy, RandomHintPolicy
from agentrec.policies.policy_files import EncoderRecord, StorableHintPolicy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.rankings import Ranking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import write_json
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently

NOISE_CONTROL = "noise_control"
"""Name of the policy that was trained on rewards shuffled between sessions and hints."""

_DIFFERENCES = (
    ("policy", "no_hint"),
    ("policy", "best_single_hint"),
    ("policy", "random_hint"),
    ("best_single_hint", "no_hint"),
    (NOISE_CONTROL, "no_hint"),
    (NOISE_CONTROL, "best_single_hint"),
    ("policy", NOISE_CONTROL),
)


class ClosedLoop:
    """The phases of one run; each one reuses what an earlier attempt left.

    Args:
        run: The run, open.
    """

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._settings = run.settings

    async def run(self) -> None:
        """Explore, reward, train, evaluate."""
        hints = await self._explored()
        rewards = RunRewards(self._run, hints)
        if hints:
            best, trained = await self._trained(rewards)
        else:
            best, trained = (
                NoHintPolicy(),
                {"policy": NoHintPolicy(), NOISE_CONTROL: NoHintPolicy()},
            )
            await asyncio.to_thread(
                store_policy, trained["policy"], self._run.folder.live, self._encoder()
            )
        calls = len(rewards.sessions("train")) * sum(map(_rollouts, trained.values()))
        methods: dict[str, HintPolicy] = {
            "no_hint": NoHintPolicy(),
            "random_hint": RandomHintPolicy(self._settings.seed),
            "best_single_hint": best,
            **trained,
        }
        await self._evaluate(methods, calls)

    async def _explored(self) -> tuple[Hint, ...]:
        """Explore; on a second attempt every answer is in the journal and no call is made."""
        dataset, settings, folder = self._run.dataset, self._settings, self._run.folder
        sessions = spread(dataset.train, settings.max_explored)
        with self._run.display.counting("Learning hints from errors", len(sessions)) as advance:
            explored = await explore(
                sessions,
                self._run.components,
                build_hint_learning_graph(),
                self._run.concurrency,
                advance,
                probes=dataset.train,
                num_probes=settings.num_probes,
                rules=settings.explore.rules(),
            )
        summary = {
            "explored": explored.explored,
            "errors": explored.errors,
            "stored": len(explored.hints),
            "refused": explored.refusals,
            "questions": explored.questions,
            "ended": explored.ended or "the sessions were used up",
        }
        await asyncio.to_thread(write_json, folder.exploration, summary)
        lines = [hint.model_dump_json() + "\n" for hint in explored.hints]
        await asyncio.to_thread(write_atomically, folder.hints, "".join(lines).encode())
        return explored.hints

    async def _trained(
        self, rewards: RunRewards
    ) -> tuple[HintPolicy, dict[str, StorableHintPolicy]]:
        """The best single hint, and the trained policies by name; the gate decides what is live."""
        settings, seed, encoder = self._settings.policy, self._settings.seed, self._encoder()
        plan, shape = settings.plan(seed), settings.shape
        data = await rewards.training_data(plan, shape)
        noise = await rewards.training_data(plan, shape, noise_seed=seed)
        trained = {}
        for name, title, part in (
            ("policy", settings.kind, data),
            (NOISE_CONTROL, NOISE_CONTROL, noise),
        ):
            folder = self._run.folder.policy(title)
            trained[name] = await train_policy(
                title, settings, part, folder, self._run.display, seed=seed, encoder=encoder
            )
        valid = (await rewards.table("valid")).rewarded(await rewards.offer("valid"))
        await asyncio.to_thread(
            let_live,
            self._run.folder,
            settings.kind,
            trained["policy"],
            data,
            seed=seed,
            encoder=encoder,
        )
        return BestSingleHintTrainer().fit(valid), trained

    async def _evaluate(self, methods: Mapping[str, HintPolicy], saved_calls: int) -> None:
        """Rank the test sessions with every method and with the baselines; write the reports."""
        run, test = self._run, self._run.dataset.test
        ranks = await baseline_ranks(run, test)
        rankings: dict[str, list[Ranking]] = {}
        with run.display.counting("Test sessions", len(test) * len(methods)) as advance:
            for name, policy in methods.items():
                components = replace(run.components, hint_policy=policy)
                made = await policy_rankings(test, components, run.concurrency, advance)
                rankings[name], ranks[name] = made, target_ranks(test, made)
        answers = await asyncio.to_thread(report_answers, test, rankings, run.components)
        calls: dict[str, int | float] = {
            "made": len(run.journal),
            "cached": sum(run.components.gateway.calls["cached"].values()),
            "saved_by_reward_table": saved_calls,
            "input_tokens": run.journal.tokens["input"],
            "output_tokens": run.journal.tokens["output"],
        }
        report = await asyncio.to_thread(
            build_report, ranks, _DIFFERENCES, calls, self._settings.seed
        )
        await asyncio.to_thread(answers.save, run.folder.answers)
        content = json.dumps(report.model_dump(mode="json"), indent=2) + "\n"
        await asyncio.to_thread(write_atomically, run.folder.metrics, content.encode())

    def _encoder(self) -> EncoderRecord | None:
        return EncoderRecord.of(self._run.components.encoder, self._settings.embeddings)


async def policy_rankings(
    sessions: Sequence[Session],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
) -> list[Ranking]:
    """Recommend to each session with the recommendation graph.

    Raises:
        ModelCallError: If a call failed for good.
    """
    graph = build_recommendation_graph()

    async def recommend(session: Session) -> Ranking:
        state = await graph.ainvoke(RecommendationInput(session=session), context=components)
        ranking: Ranking = state["ranking"]
        return ranking

    return await map_concurrently(sessions, recommend, concurrency, on_done)


def target_ranks(sessions: Sequence[Session], rankings: Sequence[Ranking]) -> list[int | None]:
    """Rank of each session's target in the ranking made for it."""
    pairs = zip(sessions, rankings, strict=True)
    return [rank_in(ranking.item_ids, session) for session, ranking in pairs]


def _rollouts(policy: HintPolicy) -> int:
    """Calls per session that training would have made if it asked at every step."""
    if not isinstance(policy, PPOHintPolicy):
        return 0
    config = policy.config
    return config.iterations * config.members * config.samples_per_session
