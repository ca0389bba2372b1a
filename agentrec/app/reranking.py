"""Re-ranking sessions with preference texts, by the recommender and by the language model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agentrec.app.preference_texts import factors_of, texts_for
from agentrec.app.run_parts import RunParts
from agentrec.components import Components
from agentrec.graphs.recommending import rank
from agentrec.llm.gateway import ModelGateway
from agentrec.policies.reward_model.augmented import AugmentedRecommender
from agentrec.policies.reward_model.scoring import KnowledgeRewardModel
from agentrec.policies.reward_model.target_odds import TargetOdds
from agentrec.runs.concurrency import map_concurrently
from agentrec.sessions import Session

Ranks = list[int | None]


@dataclass(frozen=True, eq=False)
class Rewritten:
    """What one language model makes of sessions.

    Attributes:
        texts: Its text about each session; ``None`` where there is none, and the session is ranked
            without one.
        told: Rank of the target where the recommender is told the session's own text.
        foreign: The same with another session's text: what any text does.
        reranked: The same where the model itself ranks, given its own text.
    """

    texts: list[str | None]
    told: Ranks
    foreign: Ranks
    reranked: Ranks

    @property
    def failures(self) -> int:
        """How many texts could not be written."""
        return self.texts.count(None)


async def rewritten(
    sessions: Sequence[Session],
    parts: RunParts,
    reward_model: KnowledgeRewardModel,
    *,
    model: ModelGateway | None = None,
    share: float,
    name: str,
) -> Rewritten:
    """Let a model write about sessions, and rank them with what it wrote.

    Args:
        sessions: With targets and candidates.
        parts: The run.
        reward_model: Whose recommender texts are told to.
        model: The model; ``None`` for the run's.
        share: Share of a history that texts are written from, as in training.
        name: What to call the model.

    Raises:
        ModelCallError: If the budget is spent, or a ranking failed for good.
    """
    components = parts.components
    if model is not None:
        components = replace(components, model=model)
    factors = await factors_of(parts)

    texts = await texts_for(
        f"Texts of {name}", sessions, factors, parts, share=share, components=components
    )
    recommender = reward_model.recommender
    vectors = await reward_model.text_vectors.of([text or "" for text in texts])
    order = np.random.default_rng(parts.settings.seed).permutation(len(sessions))
    # Each goes to the next one of a random round: nobody keeps its own.
    foreign = np.empty_like(order)
    foreign[order] = np.roll(order, 1)
    told = await asyncio.to_thread(target_ranks, recommender, sessions, vectors)
    others = await asyncio.to_thread(target_ranks, recommender, sessions, vectors[foreign])
    reranked = await _reranked(sessions, texts, components, parts, name)
    return Rewritten(texts, told, others, reranked)


def target_ranks(
    recommender: AugmentedRecommender, sessions: Sequence[Session], vectors: np.ndarray
) -> Ranks:
    """Rank of each session's target where the recommender is told a text; blocks.

    As in rewards, the target comes last of equal ones.

    Args:
        recommender: The recommender.
        sessions: With targets and candidates.
        vectors: The texts' vectors, ``[sessions, text_dim]``; zeros for none.
    """
    odds = TargetOdds.of(recommender.recommender, sessions)
    return list(odds.ranks(recommender.moves(vectors)).tolist())


async def _reranked(
    sessions: Sequence[Session],
    texts: Sequence[str | None],
    components: Components,
    parts: RunParts,
    name: str,
) -> Ranks:
    async def ranked(pair: tuple[Session, str | None]) -> int | None:
        session, text = pair
        made = await rank(session, None, components, text)
        return made.rank_of(session.target or "")

    with parts.display.counting(f"Rankings of {name}", len(sessions)) as advance:
        pairs = list(zip(sessions, texts, strict=True))
        return await map_concurrently(pairs, ranked, parts.concurrency, advance)
