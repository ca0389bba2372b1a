import asyncio
import math
import threading
import time

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import HumanMessage

from agentrec.errors import ModelCallError
from agentrec.llm.limits.pacing import Pace, Start
from agentrec.llm.limits.rate_limiter import PacedRateLimiter
from agentrec.llm.limits.turn_queue import TurnQueue
from agentrec.testing.scripted_chat_model import ScriptedChatModel


class Gate(Pace):
    """Lets through as many as it is told, and says when it is asked."""

    def __post_init__(self) -> None:
        self.open = 0
        self.asked = 0

    def try_start(self, tokens: int = 0) -> Start | float:
        self.asked += 1
        if self.open:
            self.open -= 1
            return Start(0.0, tokens)
        return 0.005


async def test_first_come_first_served_and_only_the_first_looks() -> None:
    gate = Gate()
    queue = TurnQueue(gate)
    served: list[int] = []

    async def waiting(number: int) -> None:
        await queue.start()
        served.append(number)

    with blockbuster_ctx():
        tasks = [asyncio.create_task(waiting(n)) for n in range(1000)]
        await asyncio.sleep(0.1)
        # One of a thousand polls, at most once in 5 ms.
        assert 2 <= gate.asked <= 200
        gate.open = 1000
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert served == list(range(1000))
    assert len(queue) == 0


async def test_whoever_leaves_takes_no_turn_and_stops_nobody() -> None:
    gate = Gate()
    queue = TurnQueue(gate)
    served: list[int] = []

    async def waiting(number: int) -> None:
        await queue.start()
        served.append(number)

    tasks = [asyncio.create_task(waiting(n)) for n in range(20)]
    await asyncio.sleep(0.02)
    for gone in (0, 1, 5, 19):
        tasks[gone].cancel()
    await asyncio.sleep(0)
    gate.open = 16
    kept = [task for n, task in enumerate(tasks) if n not in (0, 1, 5, 19)]
    await asyncio.wait_for(asyncio.gather(*kept), 10)
    assert served == [n for n in range(20) if n not in (0, 1, 5, 19)]
    assert (gate.open, len(queue)) == (0, 0)


async def test_a_newcomer_does_not_overtake() -> None:
    gate = Gate()
    queue = TurnQueue(gate)
    first = asyncio.create_task(queue.start(1))
    await asyncio.sleep(0)
    assert len(queue) == 1
    gate.open = 1
    assert queue.try_start() is None
    newcomer = asyncio.create_task(queue.start(2))
    assert (await asyncio.wait_for(first, 5)).tokens == 1
    gate.open = 1
    assert (await asyncio.wait_for(newcomer, 5)).tokens == 2


async def test_the_line_is_bounded() -> None:
    queue = TurnQueue(Gate(), max_waiting=3)
    tasks = [asyncio.create_task(queue.start()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(queue) == 3
    with pytest.raises(ModelCallError, match="3 callers wait") as caught:
        await queue.start()
    assert not caught.value.transient
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(queue) == 0
    with pytest.raises(ValueError, match="max_waiting"):
        TurnQueue(Gate(), max_waiting=0)


def test_threads_and_event_loops_share_one_line() -> None:
    gate = Gate()
    queue = TurnQueue(gate)
    served: list[str] = []
    lock = threading.Lock()

    def blocking() -> None:
        queue.start_blocking()
        with lock:
            served.append("thread")

    async def together() -> None:
        await asyncio.gather(*(queue.start() for _ in range(5)))

    def looping() -> None:
        asyncio.run(together())
        with lock:
            served.append("loop")

    threads = [threading.Thread(target=t) for t in [blocking] * 5 + [looping] * 3]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert (served, len(queue)) == ([], 20)
    gate.open = 20
    for thread in threads:
        thread.join(10)
    assert sorted(served) == ["loop"] * 3 + ["thread"] * 5
    assert (gate.open, len(queue)) == (0, 0)


def test_a_waiter_whose_loop_is_gone_stops_nobody() -> None:
    gate = Gate()
    queue = TurnQueue(gate)

    async def first_in_line() -> None:
        await queue.start()

    blocking = threading.Thread(target=queue.start_blocking)
    blocking.start()
    while not len(queue):
        time.sleep(0.001)
    # A loop that is closed in the middle: its task never gets to leave the line by itself.
    loop = asyncio.new_event_loop()
    task = loop.create_task(first_in_line())
    loop.run_until_complete(asyncio.sleep(0.01))
    assert len(queue) == 2
    loop.close()
    last = threading.Thread(target=queue.start_blocking)
    last.start()
    while len(queue) < 3:
        time.sleep(0.001)
    gate.open = 2
    blocking.join(5)
    last.join(5)
    assert not blocking.is_alive()
    assert not last.is_alive()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="requests_per_minute"):
        PacedRateLimiter(rate)


async def test_a_rate_limiter_for_a_model_of_ones_own() -> None:
    limiter = PacedRateLimiter(60 * 50)
    assert limiter.acquire(blocking=False)
    assert not limiter.acquire(blocking=False)
    assert not await limiter.aacquire(blocking=False)
    model = ScriptedChatModel(["x"] * 20)
    model.rate_limiter = limiter
    begun = time.monotonic()
    await asyncio.gather(
        *(model.ainvoke([HumanMessage("a")]) for _ in range(10)),
        *(asyncio.to_thread(model.invoke, [HumanMessage("a")]) for _ in range(10)),
    )
    # 20 gaps of 20.5 ms, of which 0.1 s may be made up for.
    assert time.monotonic() - begun > 0.3
    model.assert_exhausted()


def test_a_limiter_serves_one_loop_after_another() -> None:
    limiter = PacedRateLimiter(60 * 200)

    async def some() -> None:
        await asyncio.gather(*(limiter.aacquire() for _ in range(5)))

    for _ in range(3):
        asyncio.run(some())
