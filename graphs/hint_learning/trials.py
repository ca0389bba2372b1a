"""Trials of a hint on sessions other than its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentrec.components import Components
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint, HintEvidence
from agentrec.sessions import Session

FIRST_LOOK = 16


async def try_on(
    hint: Hint, sessions: Sequence[Session], components: Components
) -> HintEvidence | None:
    """Measure a hint's gain in NDCG@10 over no hint on other training sessions.

    The mean gain is checked after 16 sessions, 32, 64 and so on. The trial stops as soon as it is
    not above 0, so that poor hints cost little.

    Args:
        hint: The hint.
        sessions: Training sessions with targets, the most important first, each id once.
        components: The components.

    Returns:
        The evidence; ``None`` if there are no sessions.

    Raises:
        ModelCallError: If a call failed for good.
    """
    effects: dict[str, float] = {}
    look = FIRST_LOOK
    while len(effects) < len(sessions):
        effects |= await _gains(hint, sessions[len(effects) : look], components)
        if sum(effects.values()) <= 0:
            break
        look *= 2
    return HintEvidence.of(effects, components.gateway.name) if effects else None


async def _gains(
    hint: Hint, sessions: Sequence[Session], components: Components
) -> dict[str, float]:
    async def gain(position: int, session: Session) -> float:
        # Render one prompt per pass of the event loop: many at once would block it.
        for _ in range(position):
            await asyncio.sleep(0)
        target = session.target or ""
        without, with_hint = await asyncio.gather(
            rank(session, None, components), rank(session, hint, components)
        )
        return ndcg(with_hint.rank_of(target)) - ndcg(without.rank_of(target))

    gains = await asyncio.gather(*(gain(*numbered) for numbered in enumerate(sessions)))
    return {session.session_id: value for session, value in zip(sessions, gains, strict=True)}
