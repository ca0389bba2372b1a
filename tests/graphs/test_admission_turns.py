import asyncio
import random

import pytest

from agentrec.graphs.admission_turns import AdmissionTurns

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
