"""What a hint does to sessions other than its own."""

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
    """Measure a hint's gain, in NDCG@10 over no hint, on other training sessions.

    A hint is looked at after 16 sessions and whenever as many again have been tried; one that has
    not helped on average by then is not tried on the rest, so that poor hints cost little.

    Args:
        hint: The hint.
        sessions: Training sessions with targets, those that matter most first, each id once.
        components: The parts.

    Returns:
        The evidence, ``None`` where there are no sessions.

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
    async def gain(place: int, session: Session) -> float:
        # One prompt a round of the event loop: all at once, times many hints, would hold it up.
        for _ in range(place):
            await asyncio.sleep(0)
        target = session.target or ""
        without, with_hint = await asyncio.gather(
            rank(session, None, components), rank(session, hint, components)
        )
        return ndcg(with_hint.rank_of(target)) - ndcg(without.rank_of(target))

    gains = await asyncio.gather(*(gain(*placed) for placed in enumerate(sessions)))
    return {session.session_id: value for session, value in zip(sessions, gains, strict=True)}
