from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from testing.answering import (
    TITLES,
    WRONG,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    world,
)

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.reward_measurement import fill_cells, fill_reward_table, num_cells
from agentrec.errors import ModelCallError
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.journal import CallJournal
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.rewards.successive_halving import Cell, SuccessiveHalving
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(len(TITLES))]
HINTS = [Hint(text=f"Prefer films of kind {letter}.") for letter in "abcdefghijklmnop"]
HALVING = SuccessiveHalving(rounds=(3, 2, 1))


def position(hint: str | None, last: str) -> int | str:
    """Every film that ends a history has hints of its own that help it, and others that harm."""
    if hint is None:
        return 5
    number = (TITLES.index(last.split(" (")[0]) + ord(hint.removesuffix(".")[-1])) % 7
    return WRONG if number == 0 else 1 + number


def scripted(count: int = 1000) -> ScriptedChatModel:
    return ScriptedChatModel([world(position, targets_of(SESSIONS, make_catalog()))] * count)


class Counting:
    def __init__(self) -> None:
        self.done = 0

    def __call__(self) -> None:
        self.done += 1


async def test_a_full_fill_measures_every_cell_with_one_call_each() -> None:
    model, counted = scripted(), Counting()
    table = await fill_reward_table(SESSIONS, HINTS, make_components(model), 8, counted)
    assert table.share_measured == 1
    prompts = prompts_of(model, "rank")
    assert len(set(prompts)) == len(prompts) == len(SESSIONS) * (1 + len(HINTS))
    assert counted.done == num_cells(SESSIONS, HINTS) == len(prompts)
    assert len(model.calls) == len(prompts)


async def test_halving_makes_as_many_calls_as_it_says() -> None:
    model, counted = scripted(), Counting()
    table = await fill_reward_table(
        SESSIONS, HINTS, make_components(model), 8, counted, halving=HALVING
    )
    planned = len(SESSIONS) * (1 + 6)
    assert num_cells(SESSIONS, HINTS, HALVING) == planned
    assert len(model.calls) == len(set(prompts_of(model, "rank"))) == counted.done == planned
    assert set(table.measured.sum(axis=1)) == {7}


async def test_what_halving_measures_is_what_a_full_fill_measures_there() -> None:
    components = make_components(scripted())
    whole = await fill_reward_table(SESSIONS, HINTS, components, 8, lambda: None)
    part = await fill_reward_table(SESSIONS, HINTS, components, 8, lambda: None, halving=HALVING)
    assert (part.session_ids, part.hint_ids) == (whole.session_ids, whole.hint_ids)
    assert np.array_equal(part.ndcg[part.measured], whole.ndcg[part.measured])


@pytest.mark.parametrize("concurrency", [1, 40])
async def test_the_plan_depends_on_answers_and_not_on_which_comes_first(concurrency: int) -> None:
    tables = [
        await fill_reward_table(
            SESSIONS, HINTS, make_components(scripted()), at_once, lambda: None, halving=HALVING
        )
        for at_once in (7, concurrency)
    ]
    np.testing.assert_array_equal(tables[0].ndcg, tables[1].ndcg)


@pytest.mark.parametrize("before", [20, 120, 170])
async def test_what_was_answered_before_a_failure_is_not_paid_for_again(
    before: int, tmp_path: Path
) -> None:
    whole = await fill_reward_table(
        SESSIONS, HINTS, make_components(scripted()), 4, lambda: None, halving=HALVING
    )
    answer = world(position, targets_of(SESSIONS, make_catalog()))
    failing = ScriptedChatModel([*[answer] * before, ValueError("gone"), *[answer] * 10])
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        gateway = ModelGateway(failing, "one", journal, retries=RetryPolicy(max_attempts=1))
        components = replace(make_components(failing), model=gateway)
        with pytest.raises(ModelCallError):
            await fill_reward_table(SESSIONS, HINTS, components, 4, lambda: None, halving=HALVING)
    model = scripted()
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        answered = len(journal)  # with calls in flight when the failure came
        components = replace(make_components(model), model=ModelGateway(model, "one", journal))
        table = await fill_reward_table(
            SESSIONS, HINTS, components, 4, lambda: None, halving=HALVING
        )
    assert answered >= before
    assert len(model.calls) == num_cells(SESSIONS, HINTS, HALVING) - answered
    np.testing.assert_array_equal(table.ndcg, whole.ndcg)


async def test_a_hint_that_occurs_twice_is_refused_before_anything_is_paid_for() -> None:
    model = ScriptedChatModel([])
    twice = [HINTS[0], HINTS[0]]
    with pytest.raises(ValueError, match="one hint twice"):
        await fill_reward_table(SESSIONS, twice, make_components(model), 8, lambda: None)
    assert not model.calls


async def test_nothing_to_measure_is_an_empty_table() -> None:
    components = make_components(ScriptedChatModel([]))
    nobody: list[Session] = []
    for halving in (None, HALVING):
        table = await fill_reward_table(nobody, HINTS, components, 8, lambda: None, halving=halving)
        assert table.ndcg.shape == (0, 1 + len(HINTS))
        assert num_cells(nobody, HINTS, halving) == 0


async def cells_of(
    model: ScriptedChatModel,
    cells: Iterable[Cell],
    known: RewardTable | None = None,
    sessions: Sequence[Session] = SESSIONS,
    hints: Sequence[Hint] = HINTS,
    shown: io.StringIO | None = None,
) -> RewardTable:
    display = ConsoleProgress(Console(file=shown or io.StringIO(), width=120))
    parts = make_components(model)
    return await fill_cells(sessions, hints, cells, parts, 8, display, "Measuring", known=known)


async def test_cells_are_measured_beside_no_hint_and_nothing_else_is() -> None:
    model, shown = scripted(), io.StringIO()
    cells = [(0, 3), (4, 1), (0, 3), (4, 0)]
    table = await cells_of(model, cells, shown=shown)
    assert len(model.calls) == len(SESSIONS) + 2
    assert np.argwhere(table.measured[:, 1:]).tolist() == [[0, 2], [4, 0]]
    whole = await fill_reward_table(SESSIONS, HINTS, make_components(scripted()), 8, lambda: None)
    assert np.array_equal(table.ndcg[table.measured], whole.ndcg[table.measured])
    assert (table.session_ids, table.hint_ids) == (whole.session_ids, whole.hint_ids)
    assert "Measuring" in shown.getvalue()
    assert f"{len(model.calls)}/{len(model.calls)}" in shown.getvalue()


async def test_what_is_known_is_not_measured_again() -> None:
    known = await cells_of(scripted(), [(0, 1), (1, 2)])
    model, shown = scripted(), io.StringIO()
    again = await cells_of(model, [(1, 2)], known, shown=shown)
    assert np.array_equal(again.ndcg, known.ndcg, equal_nan=True)
    assert not model.calls
    assert shown.getvalue() == "", "there is nothing to watch"
    more = await cells_of(model, [(1, 2), (2, 2)], known)
    assert len(model.calls) == 1
    assert more.measured.sum() == known.measured.sum() + 1


async def test_known_cells_of_another_order_go_to_their_own_rows_and_columns() -> None:
    known = await cells_of(scripted(), [(row, 1 + row % 4) for row in range(8)], None, SESSIONS[:8])
    assert known.measured[:, 1:].sum() == 8
    model = scripted()
    sessions, hints = SESSIONS[9:3:-1], [HINTS[5], *HINTS[2::-1]]
    table = await cells_of(model, [], known, sessions, hints)
    assert len(model.calls) == 2, "no hint, of the two sessions that nobody knew"
    # Rows 4 to 7 were known, and of their hints the first three.
    expected = known.with_sessions([one.session_id for one in sessions[2:]])
    kept = expected.with_hints([hint.hint_id for hint in hints[1:]])
    assert np.array_equal(table.ndcg[2:, [0, 2, 3, 4]], kept.ndcg, equal_nan=True)
    assert not table.measured[:2, 1:].any()
    assert not table.measured[:, 1].any()


async def test_other_draws_of_negatives_are_not_taken_over() -> None:
    known = await cells_of(scripted(), [], hints=HINTS[:2])
    drawn = RewardTable(
        2 * known.session_ids,
        known.hint_ids,
        np.concatenate([known.ndcg, np.zeros_like(known.ndcg)]),
        (0,) * len(SESSIONS) + (1,) * len(SESSIONS),
    )
    model = scripted()
    table = await cells_of(model, [], drawn, hints=HINTS[:2])
    assert not model.calls
    assert np.array_equal(table.ndcg, known.ndcg, equal_nan=True)


async def test_a_failed_cell_is_never_a_score() -> None:
    answer = world(position, targets_of(SESSIONS, make_catalog()))
    failing = ScriptedChatModel([*[answer] * 10, ValueError("gone"), *[answer] * 100])
    with pytest.raises(ModelCallError):
        await cells_of(failing, [(0, 1)])


async def test_no_session_and_no_hint_are_tables_too() -> None:
    model = scripted()
    assert (await cells_of(model, [], sessions=[])).ndcg.shape == (0, 1 + len(HINTS))
    table = await cells_of(model, [], hints=[])
    assert table.ndcg.shape == (len(SESSIONS), 1)
    unhelpful = await cells_of(model, [], await cells_of(model, [], sessions=[]))
    assert unhelpful.measured.sum() == len(SESSIONS)
