"""Measuring reward tables: sessions under no hint and under hints, each prompt once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.rewards.successive_halving import Cell, SuccessiveHalving
from agentrec.progress import ProgressDisplay
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently


async def fill_reward_table(
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
    *,
    halving: SuccessiveHalving | None = None,
) -> RewardTable:
    """Measure NDCG@10 of sessions under no hint and under hints.

    Every answer is in the gateway's journal before it counts here, and the plan follows from the
    answers, so filling again after a crash asks only for what is missing. ``on_done`` is called
    after each of the ``num_cells`` cells. Without ``halving``, all hints are tried on all sessions.

    Raises:
        ValueError: If a hint occurs twice.
        ModelCallError: If a call failed for good; what was answered so far is in the journal.
    """
    hint_ids = tuple(hint.hint_id for hint in hints)
    # Before anything is paid for.
    if len(set(hint_ids)) != len(hint_ids):
        raise ValueError("hints name one hint twice")
    session_ids = tuple(session.session_id for session in sessions)
    values = np.full((len(sessions), 1 + len(hints)), np.nan, dtype=np.float32)

    async def measure(cells: Sequence[Cell]) -> RewardTable:
        await _measure(cells, sessions, hints, values, components, concurrency, on_done)
        return RewardTable(session_ids, hint_ids, values)

    rows = range(len(sessions))
    if halving is None:
        return await measure([(row, column) for row in rows for column in range(1 + len(hints))])
    states = await asyncio.to_thread(_encoded, sessions, components)
    plan = await asyncio.to_thread(halving.first_round, len(sessions), len(hints))
    table = await measure(sorted([*((row, 0) for row in rows), *plan.cells]))
    while following := await asyncio.to_thread(halving.next_round, plan, states, table):
        plan = following
        table = await measure(plan.cells)
    return table


async def fill_cells(
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    cells: Iterable[Cell],
    components: Components,
    concurrency: int,
    display: ProgressDisplay,
    title: str,
    *,
    known: RewardTable | None = None,
) -> RewardTable:
    """Measure NDCG@10 of sessions under no hint, and in the given cells of their table.

    Values in ``known``, a table of any sessions and hints, are taken over and not measured again.
    Progress is shown only if something is measured.

    Raises:
        ModelCallError: If a call failed for good; what was answered so far is in the journal.
    """
    values = np.full((len(sessions), 1 + len(hints)), np.nan, dtype=np.float32)
    if known is not None:
        _copy_known(known, sessions, hints, values)
    wanted = {(row, 0) for row in range(len(sessions))}.union(cells)
    missing = sorted(cell for cell in wanted if np.isnan(values[cell]))
    if missing:
        with display.counting(title, len(missing)) as advance:
            await _measure(missing, sessions, hints, values, components, concurrency, advance)
    ids = tuple(session.session_id for session in sessions)
    return RewardTable(ids, tuple(hint.hint_id for hint in hints), values)


async def _measure(
    cells: Sequence[Cell],
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    values: npt.NDArray[np.float32],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
) -> None:
    """Put the NDCG@10 of cells into ``values``."""
    options: list[Hint | None] = [None, *hints]

    async def value(cell: Cell) -> float:
        session = sessions[cell[0]]
        ranking = await rank(session, options[cell[1]], components)
        return ndcg(ranking.rank_of(session.target or ""))

    found = await map_concurrently(cells, value, concurrency, on_done)
    for cell, each in zip(cells, found, strict=True):
        values[cell] = each


def _copy_known(
    known: RewardTable,
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    values: npt.NDArray[np.float32],
) -> None:
    """Copy known measurements of the first draw of negatives into ``values``."""
    row_of = {
        session_id: row
        for row, (session_id, draw) in enumerate(zip(known.session_ids, known.draws, strict=True))
        if draw == 0
    }
    column_of = {hint_id: 1 + index for index, hint_id in enumerate(known.hint_ids)}
    rows = [
        (row, row_of[session.session_id])
        for row, session in enumerate(sessions)
        if session.session_id in row_of
    ]
    columns = [
        (1 + index, column_of[hint.hint_id])
        for index, hint in enumerate(hints)
        if hint.hint_id in column_of
    ]
    if rows:
        to_rows, from_rows = zip(*rows, strict=True)
        to_columns, from_columns = zip((0, 0), *columns, strict=True)
        values[np.ix_(to_rows, to_columns)] = known.ndcg[np.ix_(from_rows, from_columns)]


def num_cells(
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    halving: SuccessiveHalving | None = None,
) -> int:
    """How many cells ``fill_reward_table`` measures for the same arguments."""
    options = 1 + len(hints) if halving is None else halving.calls_per_row(len(hints))
    return len(sessions) * options


def _encoded(sessions: Sequence[Session], components: Components) -> npt.NDArray[np.float32]:
    states = [components.encoder.state(session) for session in sessions]
    return np.stack(states) if states else np.zeros((0, 1), dtype=np.float32)
