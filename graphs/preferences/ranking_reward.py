"""The reward of preference texts where the language model itself ranks, given the text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from agentrec.components import Components
from agentrec.continuations import Continuation, Relevant, continuation_of
from agentrec.errors import ModelCallError
from agentrec.evaluation.metrics import CUTOFF, ranking_value
from agentrec.graphs.recommendation.ranking import rank
from agentrec.preferences import PreferenceReward
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently


class RankingRewardModel:
    """Scores texts by the ranking that a language model makes of a session, told the text.

    It costs a call a text, and one a session for the ranking without a text; the same rankings
    are not paid for again. Nothing in it is trained, so that it may score any session.

    The reward is the mean of NDCG@K and MAP@K of what is relevant; the tie-break is the mean
    logarithm of its places without the text minus with it.

    Source: the reward of Re2LLM (arXiv 2403.16427), of a text in place of a hint.

    Args:
        components: The parts; its model ranks.
        relevant: What a text is to find: the target, or all that came after what it is about.
        shown_share: Share of a history that texts are written from, above 0 to 1.
        cutoff: K, at least 1.
    """

    def __init__(
        self,
        components: Components,
        *,
        relevant: Relevant = "rest",
        shown_share: float = 0.7,
        cutoff: int = CUTOFF,
    ) -> None:
        self._components = components
        self._relevant = relevant
        self._shown_share = shown_share
        self._cutoff = cutoff

    @property
    def parameter_hash(self) -> str:
        """Over the model's name, the prompts, and what is relevant."""
        judged = [
            self._components.gateway.name,
            self._components.prompts.content_hash,
            self._relevant,
            f"{self._shown_share:g}",
            str(self._cutoff),
        ]
        return hashlib.sha256("\n".join(judged).encode()).hexdigest()

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        """Say what texts are worth; see ``RewardModel.score``.

        Raises:
            ModelCallError: If the budget is spent.
        """
        if len(texts) != len(sessions):
            raise ValueError(f"{len(sessions)} sessions need as many lists, not {len(texts)}")
        judged = [continuation_of(one, self._shown_share, self._relevant) for one in sessions]
        wanted = [
            (one, text) for one, each in zip(judged, texts, strict=True) for text in ("", *each)
        ]
        # As many at a time as there are: whoever asks bounds that, and so does the model's limiter.
        made = iter(await map_concurrently(wanted, self._ranking, max(1, len(wanted))))
        rewards = []
        for one, each in zip(judged, texts, strict=True):
            without = next(made)
            rewards.append([self._reward(one, without, next(made)) for _ in each])
        return rewards

    async def _ranking(self, wanted: tuple[Continuation, str]) -> Ranking | None:
        judged, text = wanted
        try:
            return await rank(judged.session, None, self._components, text or None)
        except ModelCallError as error:
            if error.kind == "budget_spent":
                raise
            return None

    def _reward(
        self, judged: Continuation, without: Ranking | None, told: Ranking | None
    ) -> PreferenceReward | None:
        if without is None or told is None:
            return None
        places = [told.rank_of(item) for item in judged.relevant]
        before = [without.rank_of(item) for item in judged.relevant]
        num_items = len(judged.session.candidates)
        margin = _mean_log(before, num_items) - _mean_log(places, num_items)
        return PreferenceReward(value=ranking_value(places, self._cutoff), margin=margin)


def _mean_log(places: Sequence[int | None], num_items: int) -> float:
    # What is not in a ranking stands somewhere behind it.
    return sum(math.log(place or num_items) for place in places) / len(places)
