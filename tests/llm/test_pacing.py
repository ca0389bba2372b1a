"""The pace on a clock that the test turns."""

import asyncio
import itertools
import math
import threading
import time
from types import SimpleNamespace

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from agentrec.errors import ModelCallError
from agentrec.llm.limits.limits import PacedRateLimiter
from agentrec.llm.limits.pacing import Pace, Start, TurnQueue
from agentrec.testing.scripted_chat_model import ScriptedChatModel


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    # The engine reads the time by itself.
    monkeypatch.setattr(
        "asyncio_throttle.throttler.time", SimpleNamespace(monotonic=lambda: turned.now)
    )
    return turned


def next_start(pace: Pace, clock: Clock, tokens: int = 0, late: float = 0.0) -> Start:
    """What the first in a line does: try, sleep as told, try again."""
    for _ in range(100_000):
        start = pace.try_start(tokens)
        if isinstance(start, Start):
            return start
        assert start > 0
        clock.now += start + late
    raise AssertionError("it never starts")


def most_in_a_minute(starts: list[Start], weigh_tokens: bool = False) -> int:
    most = 0
    for first in starts:
        inside = [each for each in starts if first.at <= each.at <= first.at + 60]
        most = max(most, sum(each.tokens for each in inside) if weigh_tokens else len(inside))
    return most


def in_any_second(starts: list[Start]) -> int:
    return max(sum(a.at <= b.at < a.at + 1 for b in starts) for a in starts)


def test_a_long_line_uses_what_is_allowed_and_no_more(clock: Clock) -> None:
    pace = Pace(600, clock=clock)
    begun = clock.now
    starts = [next_start(pace, clock, late=0.003) for _ in range(3000)]
    assert most_in_a_minute(starts) <= 600
    used = (len(starts) - 1) / (clock.now - begun) * 60
    assert 0.95 * 600 <= used <= 600
    assert in_any_second(starts) <= 11


def test_late_starts_are_made_up_for_a_little_only(clock: Clock) -> None:
    pace = Pace(600, clock=clock)
    starts = [next_start(pace, clock) for _ in range(20)]
    clock.now += 5  # the process was busy
    starts += [next_start(pace, clock) for _ in range(20)]
    assert in_any_second(starts) <= 11


def test_an_idle_pace_gives_no_credit(clock: Clock) -> None:
    pace = Pace(600, tokens_per_minute=6000, clock=clock)
    for idle in (0, 1, 100):
        clock.now += idle
        gaps = [b.at - a.at for a, b in itertools.pairwise(_starts(pace, clock))]
        assert min(gaps) > 0.1


def _starts(pace: Pace, clock: Clock) -> list[Start]:
    return [next_start(pace, clock, 10) for _ in range(5)]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rate=st.floats(0.2, 90),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0, 30.0, 100.0]), max_size=250),
    late=st.floats(0, 0.3),
)
def test_no_minute_has_more_requests_than_allowed(
    clock: Clock, rate: float, gaps: list[float], late: float
) -> None:
    pace = Pace(rate, clock=clock)
    starts = []
    for gap in gaps:
        clock.now += gap
        starts.append(next_start(pace, clock, late=late))
    if starts:
        assert most_in_a_minute(starts) <= max(1, math.floor(rate))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    limit=st.integers(100, 5000),
    calls=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.5, 40.0]), st.integers(0, 99)), max_size=150
    ),
)
def test_no_minute_has_more_tokens_than_allowed(
    clock: Clock, limit: int, calls: list[tuple[float, int]]
) -> None:
    pace = Pace(tokens_per_minute=limit, clock=clock)
    starts = []
    for gap, tokens in calls:
        clock.now += gap
        starts.append(next_start(pace, clock, tokens))
    assert most_in_a_minute(starts, weigh_tokens=True) <= limit


def test_tokens_are_used_and_spread_evenly(clock: Clock) -> None:
    pace = Pace(tokens_per_minute=60_000, clock=clock)
    begun = clock.now
    starts = [next_start(pace, clock, 100) for _ in range(2000)]
    assert 0.95 * 60_000 <= (len(starts) - 1) * 100 / (clock.now - begun) * 60 <= 60_000
    assert in_any_second(starts) <= 11


def test_what_was_underestimated_holds_the_next_ones_back(clock: Clock) -> None:
    pace = Pace(tokens_per_minute=1000, clock=clock)
    first = next_start(pace, clock, 10)
    pace.correct(first, 900)
    assert next_start(pace, clock, 10).at - first.at > 900 / 1000 * 60
    # Nothing of more than what the window has left, before the first one is out of it.
    assert next_start(pace, clock, 100).at - first.at > 60


def test_what_was_overestimated_is_given_back(clock: Clock) -> None:
    pace = Pace(tokens_per_minute=1000, clock=clock)
    first = next_start(pace, clock, 900)
    pace.correct(first, 10)
    assert next_start(pace, clock, 900).at - first.at < 1


def test_a_correction_that_comes_after_the_window_changes_no_later_sum(clock: Clock) -> None:
    pace = Pace(tokens_per_minute=1000, clock=clock)
    first = next_start(pace, clock, 900)
    clock.now += 100
    second = next_start(pace, clock, 500)
    pace.correct(first, 0)
    assert next_start(pace, clock, 600).at - second.at > 60


def test_one_call_larger_than_the_limit_starts_alone(clock: Clock) -> None:
    pace = Pace(tokens_per_minute=1000, clock=clock)
    first = next_start(pace, clock, 10)
    large = next_start(pace, clock, 5000)
    after = next_start(pace, clock, 10)
    assert large.at - first.at > 60
    assert after.at - large.at > 60


def test_a_pause_holds_everything_and_the_longest_counts(clock: Clock) -> None:
    pace = Pace(600, clock=clock)
    next_start(pace, clock)
    paused = clock.now
    pace.pause(30)
    pace.pause(5)
    starts = [next_start(pace, clock) for _ in range(10)]
    assert starts[0].at == pytest.approx(paused + 30)
    gaps = [b.at - a.at for a, b in itertools.pairwise(starts)]
    assert min(gaps[1:]) > 0.1


def test_without_limits_everything_starts_but_for_pauses(clock: Clock) -> None:
    pace = Pace(clock=clock)
    assert all(isinstance(pace.try_start(10**9), Start) for _ in range(100))
    pace.pause(1)
    assert pace.try_start() == pytest.approx(1)


def test_the_engine_has_the_last_word(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    # Even spacing is enough by itself; were it wrong, the engine's log would still hold.
    monkeypatch.setattr("agentrec.llm.limits.pacing._SPREAD", 0.001)
    pace = Pace(30, clock=clock)
    assert most_in_a_minute([next_start(pace, clock) for _ in range(100)]) == 30


def test_less_than_one_a_minute(clock: Clock) -> None:
    pace = Pace(0.5, clock=clock)
    starts = [next_start(pace, clock) for _ in range(3)]
    assert all(120 < b.at - a.at < 125 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("rate", [0, -1, -0.5, math.nan, math.inf])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_impossible_rates_are_refused(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match=name):
        Pace(**{name: rate})


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
def test_an_impossible_queue_length_is_refused(rate: float) -> None:
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
