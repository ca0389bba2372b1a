"""What preference texts do to rankings, by a recommender and by a language model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentrec.components import Components
from agentrec.continuations import Continuation, Relevant, continuation_of
from agentrec.contracts import HintPolicy
from agentrec.evaluation.intervals import Interval, bootstrap_interval, bootstrap_intervals
from agentrec.evaluation.metrics import average_precision, multi_target_ndcg
from agentrec.graphs.recommendation.build_offer import offer_hints
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender
from agentrec.policies.reward_model.candidate_scores import CandidateScores
from agentrec.policies.reward_model.knowledge_reward_model import KnowledgeRewardModel
from agentrec.runs.open_run import OpenRun
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently

Ranks = Sequence[Sequence[int | None]]
"""Of each session the ranks of all that is relevant, the target's first."""

NEXT = ("ndcg@10", "map@10")
REST = ("rest ndcg@10", "rest map@10")
TEXT_METRICS = (*NEXT, *REST)


class RelevantRanks(BaseModel):
    """Where a method puts what is relevant.

    Attributes:
        target: The target alone, where the whole history is known.
        rest: All that came after the first part of the history, where that part is known.
    """

    model_config = ConfigDict(frozen=True)

    target: tuple[int | None, ...]
    rest: tuple[tuple[int | None, ...], ...]

    def scores(self) -> dict[str, list[float]]:
        """Every metric of every session."""
        next_one = [[rank] for rank in self.target]
        columns = (
            [multi_target_ndcg(each) for each in next_one],
            [average_precision(each) for each in next_one],
            [multi_target_ndcg(each) for each in self.rest],
            [average_precision(each) for each in self.rest],
        )
        return dict(zip(TEXT_METRICS, columns, strict=True))


class TextsReport(BaseModel):
    """Every method on the same sessions; ``texts.json`` of a run folder.

    Attributes:
        methods: By method and metric, the mean with its interval. ``ndcg@10`` and ``map@10`` are
            of the target alone, the item that came next, by texts that were written from the whole
            history; those of the ``rest`` of all that came after the history's first part, by
            texts that were written from that part.
        differences: By ``"first - second"`` and metric, the paired mean difference; above 0 means
            that the first is better.
        sessions: The sessions' ids, in the order of the values.
        values: By method and metric, a value a session, to compare runs by.
        own_preferred: By who wrote, in what share of sessions the reward model prefers the
            session's own text to another session's; ties count half. Chance is 0.5.
        counts: What was asked of language models, and what failed.
    """

    model_config = ConfigDict(frozen=True)

    methods: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Interval]]
    sessions: tuple[str, ...] = Field(min_length=1)
    values: Mapping[str, Mapping[str, Sequence[float]]]
    own_preferred: Mapping[str, Interval]
    counts: Mapping[str, int]


def texts_report(
    sessions: Sequence[str],
    values: Mapping[str, Mapping[str, Sequence[float]]],
    differences: Sequence[tuple[str, str]],
    own_preferred: Mapping[str, Sequence[float]],
    counts: Mapping[str, int],
    seed: int,
) -> TextsReport:
    """Turn values into means, intervals and paired differences, all from the same draws.

    Args:
        sessions: Ids, at least one.
        values: By method and metric, a value a session.
        differences: Pairs of methods.
        own_preferred: By who wrote, 1, 0.5 or 0 a session with texts.
        counts: To carry along.
        seed: Seed of the bootstrap.
    """
    columns = [np.asarray(row[metric]) for row in values.values() for metric in TEXT_METRICS]
    columns += [
        np.asarray(values[first][metric]) - np.asarray(values[second][metric])
        for first, second in differences
        for metric in TEXT_METRICS
    ]
    found = iter(bootstrap_intervals(np.stack(columns, axis=1), seed=seed))

    def row() -> dict[str, Interval]:
        return {metric: next(found) for metric in TEXT_METRICS}

    return TextsReport(
        methods={name: row() for name in values},
        differences={f"{first} - {second}": row() for first, second in differences},
        sessions=tuple(sessions),
        values=values,
        own_preferred={
            name: bootstrap_interval(np.asarray(each), seed=seed)
            for name, each in own_preferred.items()
            if each
        },
        counts=counts,
    )


@dataclass(frozen=True)
class SessionTexts:
    """Texts about sessions, in their order; ``None`` or empty where there is none.

    Attributes:
        whole: Written from the whole history: for ranking what comes next, as in use.
        first: Written from its first part: for ranking all that came after that part.
    """

    whole: Sequence[str | None]
    first: Sequence[str | None]

    @classmethod
    def none(cls, count: int) -> SessionTexts:
        """No texts, for so many sessions."""
        return cls([None] * count, [None] * count)

    def foreign(self, seed: int) -> SessionTexts:
        """The same texts, each at another session: what any text does."""
        order = np.random.default_rng(seed).permutation(len(self.whole))
        # Each goes to the next one of a random round: nobody keeps its own.
        owners = np.empty_like(order)
        owners[order] = np.roll(order, 1)
        return SessionTexts(
            [self.whole[owner] for owner in owners], [self.first[owner] for owner in owners]
        )


@dataclass(frozen=True, eq=False)
class Reranker:
    """Sessions to be ranked again under texts, each as a whole and after its first part.

    Attributes:
        sessions: With targets and candidates.
        share: Share of a history that its first part is.
        parts: The run.
        reward_model: Its recommender reads the texts.
    """

    sessions: Sequence[Session]
    share: float
    parts: OpenRun
    reward_model: KnowledgeRewardModel

    async def by_recommender(self, texts: SessionTexts) -> RelevantRanks:
        """Ranks of the relevant items by the recommender that reads the texts."""
        whole = await self._told("target", texts.whole)
        rest = await self._told("rest", texts.first)
        return RelevantRanks(
            target=tuple(ranks[0] for ranks in whole), rest=tuple(map(tuple, rest))
        )

    async def by_model(
        self,
        texts: SessionTexts,
        components: Components,
        title: str,
        hints: Sequence[Hint | None] | None = None,
    ) -> RelevantRanks:
        """Where a language model that is given texts puts what is relevant.

        Args:
            texts: The texts; it ranks without where there is none.
            components: The parts; their model ranks.
            title: What is being done, for people.
            hints: What else it is given, of ``chosen_hints``; ``None`` for no hints.

        Raises:
            ModelCallError: If a ranking failed for good, or the budget is spent.
        """
        judged = [*self._judged("target"), *self._judged("rest")]
        given = [None] * len(judged) if hints is None else hints
        wanted = list(zip(judged, [*texts.whole, *texts.first], given, strict=True))

        async def ranked(
            each: tuple[Continuation, str | None, Hint | None],
        ) -> tuple[int | None, ...]:
            one, text, hint = each
            made = await rank(one.session, hint, components, text or None)
            return tuple(made.rank_of(item) for item in one.relevant)

        with self.parts.display.counting(title, len(wanted)) as advance:
            ranks = await map_concurrently(wanted, ranked, self.parts.concurrency, advance)
        count = len(self.sessions)
        return RelevantRanks(
            target=tuple(each[0] for each in ranks[:count]), rest=tuple(ranks[count:])
        )

    async def chosen_hints(self, policy: HintPolicy) -> list[Hint | None]:
        """What a policy chooses for each session as a whole, then for each after its first part."""
        judged = [*self._judged("target"), *self._judged("rest")]
        offer = await offer_hints([one.session for one in judged], self.parts.components)
        choices = await asyncio.to_thread(policy.choose, offer)
        hints = {hint.hint_id: hint for hint in offer.hints}
        return [None if chosen is None else hints[chosen] for chosen in choices.hint_ids]

    async def _told(self, relevant: Relevant, texts: Sequence[str | None]) -> list[list[int]]:
        vectors = await self.reward_model.text_vectors.of([text or "" for text in texts])
        recommender = self.reward_model.recommender
        return await asyncio.to_thread(
            ranks_with_texts, recommender, self._judged(relevant), vectors
        )

    def _judged(self, relevant: Relevant) -> list[Continuation]:
        return [continuation_of(one, self.share, relevant) for one in self.sessions]


def ranks_with_texts(
    recommender: AugmentedRecommender, judged: Sequence[Continuation], vectors: np.ndarray
) -> list[list[int]]:
    """Ranks of the relevant items by a recommender that reads a text; blocks.

    As in rewards, what is relevant comes last of equal ones.

    Args:
        recommender: The recommender.
        judged: The sessions.
        vectors: The texts' vectors, ``[sessions, text_dim]``; zeros for none.
    """
    scores = CandidateScores.of_continuations(recommender.recommender, judged)
    return scores.relevant_ranks(recommender.text_scores(vectors))
