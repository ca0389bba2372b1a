"""The reward of preference texts by the language model's own ranking with the text."""

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
    """Scores texts by the ranking that a language model makes of a session with the text.

    It costs a call per text, and one per session for the ranking without a text; equal rankings
    are paid for once. Nothing in it is trained, so it may score any session.

    The reward is the mean of NDCG@K and MAP@K of the relevant items. The margin, which breaks
    ties, is the mean logarithm of their ranks without the text minus that with it.

    Source: the reward of Re2LLM (arXiv 2403.16427), for a text instead of a hint.

    Args:
        components: The components; its model ranks.
        relevant: The relevant items: the target, or all that came after the text's part.
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
        """Hash of the model's name, the prompts, and what is relevant."""
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
        """Score texts; see ``RewardModel.score``.

        Raises:
            ModelCallError: If the budget is spent.
        """
        if len(texts) != len(sessions):
            raise ValueError(f"{len(sessions)} sessions need as many lists, not {len(texts)}")
        judged = [continuation_of(one, self._shown_share, self._relevant) for one in sessions]
        wanted = [
            (one, text) for one, each in zip(judged, texts, strict=True) for text in ("", *each)
        ]
        # All at once: the caller and the gateway's limiter bound the number.
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
        self, judged: Continuation, without: Ranking | None, with_text: Ranking | None
    ) -> PreferenceReward | None:
        if without is None or with_text is None:
            return None
        ranks = [with_text.rank_of(item) for item in judged.relevant]
        ranks_before = [without.rank_of(item) for item in judged.relevant]
        num_items = len(judged.session.candidates)
        margin = _mean_log(ranks_before, num_items) - _mean_log(ranks, num_items)
        return PreferenceReward(value=ranking_value(ranks, self._cutoff), margin=margin)


def _mean_log(ranks: Sequence[int | None], num_items: int) -> float:
    # An item outside the ranking counts as the last candidate.
    return sum(math.log(rank or num_items) for rank in ranks) / len(ranks)
