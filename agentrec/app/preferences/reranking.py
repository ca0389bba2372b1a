"""Re-ranking sessions with preference texts, by the recommender and by a language model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentrec.app.preferences.text_evaluation import RankedPlaces
from agentrec.components import Components
from agentrec.continuations import Continuation, Relevant, continuation_of
from agentrec.contracts import HintPolicy
from agentrec.graphs.recommendation.build_offer import offer_to
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender
from agentrec.policies.reward_model.candidate_scores import CandidateScores
from agentrec.policies.reward_model.knowledge_reward_model import KnowledgeRewardModel
from agentrec.runs.open_run import OpenRun
from agentrec.sessions import Session
from agentrec.streaming.streaming import map_concurrently


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
        reward_model: Whose recommender texts are told to.
    """

    sessions: Sequence[Session]
    share: float
    parts: OpenRun
    reward_model: KnowledgeRewardModel

    async def by_recommender(self, texts: SessionTexts) -> RankedPlaces:
        """Where the recommender that is told texts puts what is relevant."""
        whole = await self._told("target", texts.whole)
        rest = await self._told("rest", texts.first)
        return RankedPlaces(
            target=tuple(places[0] for places in whole), rest=tuple(map(tuple, rest))
        )

    async def by_model(
        self,
        texts: SessionTexts,
        components: Components,
        title: str,
        hints: Sequence[Hint | None] | None = None,
    ) -> RankedPlaces:
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
            places = await map_concurrently(wanted, ranked, self.parts.concurrency, advance)
        count = len(self.sessions)
        return RankedPlaces(
            target=tuple(each[0] for each in places[:count]), rest=tuple(places[count:])
        )

    async def chosen_hints(self, policy: HintPolicy) -> list[Hint | None]:
        """What a policy chooses for each session as a whole, then for each after its first part."""
        judged = [*self._judged("target"), *self._judged("rest")]
        offer = await offer_to([one.session for one in judged], self.parts.components)
        choices = await asyncio.to_thread(policy.choose, offer)
        hints = {hint.hint_id: hint for hint in offer.hints}
        return [None if chosen is None else hints[chosen] for chosen in choices.hint_ids]

    async def _told(self, relevant: Relevant, texts: Sequence[str | None]) -> list[list[int]]:
        vectors = await self.reward_model.text_vectors.of([text or "" for text in texts])
        recommender = self.reward_model.recommender
        return await asyncio.to_thread(places_told, recommender, self._judged(relevant), vectors)

    def _judged(self, relevant: Relevant) -> list[Continuation]:
        return [continuation_of(one, self.share, relevant) for one in self.sessions]


def places_told(
    recommender: AugmentedRecommender, judged: Sequence[Continuation], vectors: np.ndarray
) -> list[list[int]]:
    """Places of what is relevant where the recommender is told a text; blocks.

    As in rewards, what is relevant comes last of equal ones.

    Args:
        recommender: The recommender.
        judged: The sessions.
        vectors: The texts' vectors, ``[sessions, text_dim]``; zeros for none.
    """
    scores = CandidateScores.of_continuations(recommender.recommender, judged)
    return scores.relevant_ranks(recommender.text_scores(vectors))
