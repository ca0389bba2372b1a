"""Filling a reward table: sessions under no hint and under hints, each prompt once."""

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
    states: npt.NDArray[np.float32] | None = None,
    draws: Sequence[Sequence[Session]] = (),
) -> RewardTable:
    """Measure NDCG@10 of sessions under no hint and under hints.

    Every answer is in the gateway's journal before it counts here, and the plan follows from the
    answers, so filling again after a crash asks only for what is missing.

    Args:
        sessions: Sessions with targets and candidates.
        hints: The hints, in the order of the table's columns.
        components: The parts.
        concurrency: Most calls in flight.
        on_done: Called after each cell, ``num_cells`` times.
        halving: Which hints to try on which session; ``None`` for all on all.
        states: Encoded sessions for ``halving``, shape ``[len(sessions), state_dim]``; ``None``
            to have the components encode them.
        draws: Further draws of negatives, numbered from 1: each the same sessions in the same
            order with other candidates. Their rows follow those of ``sessions``, draw by draw.

    Raises:
        ValueError: If a hint comes twice, or draws or states do not fit the sessions.
        ModelCallError: If a call failed for good; what was answered so far is in the journal.
    """
    session_ids = tuple(session.session_id for session in sessions)
    hint_ids = tuple(hint.hint_id for hint in hints)
    # Before anything is paid for.
    if len(set(hint_ids)) != len(hint_ids):
        raise ValueError("hints name one hint twice")
    if any(tuple(session.session_id for session in draw) != session_ids for draw in draws):
        raise ValueError("a draw must hold the same sessions in the same order")
    if states is not None and len(states) != len(sessions):
        raise ValueError(f"{len(states)} states for {len(sessions)} sessions")
    rows = [*sessions, *(session for draw in draws for session in draw)]
    numbers = tuple(number for number in range(1 + len(draws)) for _ in sessions)
    options: list[Hint | None] = [None, *hints]
    values = np.full((len(rows), len(options)), np.nan, dtype=np.float32)

    async def measure(cells: Sequence[Cell]) -> None:
        await _measure(cells, rows, options, values, components, concurrency, on_done)

    def table() -> RewardTable:
        return RewardTable(session_ids * (1 + len(draws)), hint_ids, values, numbers)

    if halving is None:
        await measure([(row, option) for row in range(len(rows)) for option in range(len(options))])
        return table()
    if states is None:
        states = await asyncio.to_thread(_encoded, sessions, components)
    repeated = np.tile(states, (1 + len(draws), 1))
    planned = await asyncio.to_thread(halving.first_round, len(rows), len(hints))
    await measure(sorted([*((row, 0) for row in range(len(rows))), *planned.cells]))
    while following := await asyncio.to_thread(halving.next_round, planned, repeated, table()):
        await measure(following.cells)
        planned = following
    return table()


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
    """Measure NDCG@10 of sessions under no hint, and of some of them under some hints.

    Args:
        sessions: Sessions with targets and candidates.
        hints: The hints, in the order of the table's columns.
        cells: Rows of ``sessions`` and ``1 +`` places in ``hints``.
        components: The parts.
        concurrency: Most calls in flight.
        display: Where progress is shown, unless nothing is to be measured.
        title: What is being done.
        known: What was measured before of any sessions and hints; it is not measured again, and
            what of it belongs to the table is in it.

    Raises:
        ModelCallError: If a call failed for good; what was answered so far is in the journal.
    """
    values = np.full((len(sessions), 1 + len(hints)), np.nan, dtype=np.float32)
    if known is not None:
        _take_over(known, sessions, hints, values)
    wanted = {(row, 0) for row in range(len(sessions))}.union(cells)
    missing = sorted(cell for cell in wanted if np.isnan(values[cell]))
    if missing:
        with display.counting(title, len(missing)) as advance:
            options: list[Hint | None] = [None, *hints]
            await _measure(missing, sessions, options, values, components, concurrency, advance)
    ids = tuple(session.session_id for session in sessions)
    return RewardTable(ids, tuple(hint.hint_id for hint in hints), values)


async def _measure(
    cells: Sequence[Cell],
    rows: Sequence[Session],
    options: Sequence[Hint | None],
    values: npt.NDArray[np.float32],
    components: Components,
    concurrency: int,
    on_done: Callable[[], None],
) -> None:
    """Put the NDCG@10 of cells into ``values``."""

    async def value(cell: Cell) -> float:
        session = rows[cell[0]]
        ranking = await rank(session, options[cell[1]], components)
        return ndcg(ranking.rank_of(session.target or ""))

    found = await map_concurrently(cells, value, concurrency, on_done)
    for cell, each in zip(cells, found, strict=True):
        values[cell] = each


def _take_over(
    known: RewardTable,
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    values: npt.NDArray[np.float32],
) -> None:
    """Put what is known of the first draw into ``values``."""
    row_of = {
        session_id: row
        for row, (session_id, draw) in enumerate(zip(known.session_ids, known.draws, strict=True))
        if draw == 0
    }
    column_of = {hint_id: 1 + place for place, hint_id in enumerate(known.hint_ids)}
    pairs = [
        (row, row_of[session.session_id])
        for row, session in enumerate(sessions)
        if session.session_id in row_of
    ]
    columns = [
        (1 + place, column_of[hint.hint_id])
        for place, hint in enumerate(hints)
        if hint.hint_id in column_of
    ]
    if pairs:
        to, there = zip(*pairs, strict=True)
        into, out_of = zip((0, 0), *columns, strict=True)
        values[np.ix_(to, into)] = known.ndcg[np.ix_(there, out_of)]


def num_cells(
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    halving: SuccessiveHalving | None = None,
    draws: Sequence[Sequence[Session]] = (),
) -> int:
    """How many cells ``fill_reward_table`` measures of the same arguments."""
    options = 1 + len(hints) if halving is None else halving.calls_per_row(len(hints))
    return len(sessions) * (1 + len(draws)) * options


def _encoded(sessions: Sequence[Session], components: Components) -> npt.NDArray[np.float32]:
    states = [components.encoder.state(session) for session in sessions]
    return np.stack(states) if states else np.zeros((0, 1), dtype=np.float32)
