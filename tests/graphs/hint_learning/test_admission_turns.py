import asyncio
import random

import pytest

from agentrec.graphs.hint_learning.admission import AdmissionTurns, StoppingRules, TurnOutcome

IDS = [f"s{n}" for n in range(12)]


@pytest.mark.parametrize("seed", range(5))
async def test_turns_come_in_the_listed_order_whoever_is_ready_first(seed: int) -> None:
    turns, came = AdmissionTurns(IDS), []
    generator = random.Random(seed)
    shuffled = generator.sample(IDS, len(IDS))

    async def run(session_id: str, delay: float, stores: bool) -> None:
        await asyncio.sleep(delay)
        if stores:
            await turns.wait(session_id)
            came.append(session_id)
        turns.done(session_id)

    delays = [generator.uniform(0, 0.02) for _ in IDS]
    storing = {session_id: generator.random() < 0.6 for session_id in IDS}
    runs = [run(i, delay, storing[i]) for i, delay in zip(shuffled, delays, strict=True)]
    await asyncio.wait_for(asyncio.gather(*runs), 5)
    assert came == [session_id for session_id in IDS if storing[session_id]]


async def test_who_is_not_listed_never_waits() -> None:
    turns = AdmissionTurns(["a", "b"])
    await asyncio.wait_for(turns.wait("other"), 1)
    turns.done("other")
    waiting = asyncio.create_task(turns.wait("b"))
    await asyncio.sleep(0)
    assert not waiting.done()
    turns.done("a")
    await asyncio.wait_for(waiting, 1)


async def test_an_id_listed_twice_has_one_turn() -> None:
    turns = AdmissionTurns(["a", "a", "b"])
    turns.done("a")
    turns.done("a")
    await asyncio.wait_for(turns.wait("b"), 1)


async def test_who_stops_waiting_holds_nobody_up() -> None:
    turns = AdmissionTurns(["a", "b", "c"])
    second = asyncio.create_task(turns.wait("b"))
    await asyncio.sleep(0)
    second.cancel()
    turns.done("b")
    turns.done("a")
    await asyncio.wait_for(turns.wait("c"), 1)


ERROR = TurnOutcome(questions=5, reflected=True)
RIGHT = TurnOutcome(questions=1)
FOUND = TurnOutcome(questions=5, reflected=True, admitted=2)


@pytest.mark.parametrize(
    ("rules", "outcomes", "ended_after", "why"),
    [
        (StoppingRules(max_admitted=4), [FOUND, ERROR, FOUND, FOUND], 3, "4 hints admitted"),
        (StoppingRules(max_questions=11), [RIGHT, ERROR, ERROR, FOUND], 3, "11 questions asked"),
        (
            StoppingRules(patience=2),
            [ERROR, FOUND, ERROR, RIGHT, ERROR, FOUND],
            5,
            "no admission in 2 reflections",
        ),
        (StoppingRules(), [ERROR] * 9, None, None),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_rules_look_at_sessions_in_their_order(
    rules: StoppingRules,
    outcomes: list[TurnOutcome],
    ended_after: int | None,
    why: str | None,
    backwards: bool,
) -> None:
    turns = AdmissionTurns(IDS, rules)
    order = list(enumerate(outcomes))
    for position, outcome in reversed(order) if backwards else order:
        turns.done(IDS[position], outcome)
        if not backwards and ended_after is not None:
            assert (turns.ended is not None) == (position + 1 >= ended_after)
    assert turns.ended == why
    counted = outcomes if ended_after is None else outcomes[:ended_after]
    assert turns.questions == sum(outcome.questions for outcome in counted)


def test_being_done_twice_counts_once() -> None:
    turns = AdmissionTurns(IDS)
    for _ in range(2):
        turns.done(IDS[0], ERROR)
    assert turns.questions == 5


@pytest.mark.parametrize("name", ["max_admitted", "max_questions", "patience"])
def test_a_rule_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        StoppingRules(**{name: 0})
