"""What a hint does to sessions other than its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from agentrec.components import Components
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.recommending import rank
from agentrec.hints import Hint, HintEvidence
from agentrec.sessions import Session

FIRST_LOOK = 16
ONE_SIDED_90 = 1.2816


async def try_on(
    hint: Hint, sessions: Sequence[Session], components: Components
) -> HintEvidence | None:
    """Measure a hint's gain, in NDCG@10 over no hint, on other training sessions.

    A hint that does not help on the first sixteen is not tried on the rest: poor hints cost
    little.

    Args:
        hint: The hint.
        sessions: Training sessions with targets, those that matter most first.
        components: The parts.

    Returns:
        The evidence, ``None`` where there are no sessions.

    Raises:
        ModelCallError: If a call failed for good.
    """
    if not sessions:
        return None
    looked = await _gains(hint, sessions[:FIRST_LOOK], components)
    evidence = _evidence(looked)
    if len(sessions) > FIRST_LOOK and evidence.mean_gain > 0:
        rest = await _gains(hint, sessions[FIRST_LOOK:], components)
        evidence = _evidence([*looked, *rest])
    return evidence


async def _gains(hint: Hint, sessions: Sequence[Session], components: Components) -> list[float]:
    async def gain(session: Session) -> float:
        target = session.target or ""
        without, with_hint = await asyncio.gather(
            rank(session, None, components), rank(session, hint, components)
        )
        return ndcg(with_hint.rank_of(target)) - ndcg(without.rank_of(target))

    return await asyncio.gather(*(gain(session) for session in sessions))


def _evidence(gains: Sequence[float]) -> HintEvidence:
    values = np.array(gains)
    # With fewer than two there is no error to estimate; the bound says so by being useless.
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 1.0
    mean = float(values.mean())
    return HintEvidence(
        sessions=len(values),
        mean_gain=mean,
        low=mean - ONE_SIDED_90 * error,
        wins=int((values > 0).sum()),
        losses=int((values < 0).sum()),
    )
