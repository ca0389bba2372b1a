"""Filling a reward table: every session under no hint and under every hint, each prompt once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agentrec.components import Components
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.recommending import rank
from agentrec.hints import Hint
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.runs.concurrency import map_concurrently
from agentrec.sessions import Session


async def fill_reward_table(
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
) -> RewardTable:
    """Measure NDCG@10 of each session under each option.

    Args:
        sessions: Sessions with targets and candidates.
        hints: The hints, in the order of the table's columns.
        components: The parts.
        concurrency: Most calls in flight.
        on_done: Called after each cell.

    Raises:
        ModelCallError: If a call failed for good; what was answered so far is in the journal.
    """
    options: list[Hint | None] = [None, *hints]
    cells = [(session, hint) for session in sessions for hint in options]

    async def measure(cell: tuple[Session, Hint | None]) -> float:
        session, hint = cell
        ranking = await rank(session, hint, components)
        return ndcg(ranking.rank_of(session.target or ""))

    gained = await map_concurrently(cells, measure, concurrency, on_done)
    return RewardTable(
        session_ids=tuple(session.session_id for session in sessions),
        hint_ids=tuple(hint.hint_id for hint in hints),
        ndcg=np.array(gained, dtype=np.float32).reshape(len(sessions), len(options)),
    )
