"""The pacer on a virtual clock: whoever sleeps turns it."""

import asyncio
import itertools
import math
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrec.llm.rate_limits import Pacer, Permit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.late = 0.0
        self.sleeps = 0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps += 1
        self.now += seconds + self.late

    async def starts(self, pacer: Pacer, count: int, tokens: int = 0) -> list[Permit]:
        return [await pacer.start(tokens) for _ in range(count)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    virtual = Clock()
    modules = {
        "time": SimpleNamespace(monotonic=lambda: virtual.now),
        "asyncio": SimpleNamespace(sleep=virtual.sleep, Lock=asyncio.Lock),
    }
    for (name, module), user in itertools.product(
        modules.items(), ("asyncio_throttle.throttler", "agentrec.llm.rate_limits")
    ):
        monkeypatch.setattr(f"{user}.{name}", module)
    return virtual


def most_in_a_minute(permits: list[Permit], weigh_tokens: bool = False) -> int:
    windows = ([b for b in permits if a.at <= b.at <= a.at + 60] for a in permits)
    return max(sum(p.tokens if weigh_tokens else 1 for p in window) for window in windows)


def most_in_a_second(permits: list[Permit]) -> int:
    return max(sum(a.at <= b.at < a.at + 1 for b in permits) for a in permits)


@pytest.mark.parametrize("rate", [600, 130, 1000, 12_000])
async def test_a_rate_of_requests_is_used_spread_and_never_exceeded(
    clock: Clock, rate: int
) -> None:
    begun = clock.now
    clock.late = 0.003
    permits = await clock.starts(Pacer(rate), 2 * rate + 1)
    minutes = (permits[-1].at - begun) / 60
    assert 0.95 * rate <= (len(permits) - 1) / minutes <= rate
    some = permits[:1500]
    assert most_in_a_second(some) <= rate / 60 * 1.2 + 2
    ends = zip(permits, permits[rate:], strict=False)
    assert all(later.at - earlier.at > 60 for earlier, later in ends)


async def test_time_lost_and_idle_time_give_no_credit(clock: Clock) -> None:
    pacer = Pacer(600, tokens_per_minute=6000)
    permits = await clock.starts(pacer, 20, 10)
    for idle in (0.5, 5, 100):
        clock.now += idle
        permits += await clock.starts(pacer, 20, 10)
    assert most_in_a_second(permits) <= 15


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rate=st.floats(0.2, 300),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0, 30.0, 100.0]), max_size=150),
    late=st.floats(0, 0.3),
)
async def test_no_minute_has_more_requests_than_allowed(
    clock: Clock, rate: float, gaps: list[float], late: float
) -> None:
    pacer = Pacer(rate)
    clock.late = late
    permits = []
    for gap in gaps:
        clock.now += gap
        permits.append(await pacer.start())
    if permits:
        assert most_in_a_minute(permits) <= max(1, math.floor(rate))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    limit=st.integers(100, 5000),
    calls=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.5, 40.0]), st.integers(0, 99)), max_size=150
    ),
)
async def test_no_minute_has_more_tokens_than_allowed(
    clock: Clock, limit: int, calls: list[tuple[float, int]]
) -> None:
    pacer = Pacer(tokens_per_minute=limit)
    permits = []
    for gap, tokens in calls:
        clock.now += gap
        permits.append(await pacer.start(tokens))
    if permits:
        assert most_in_a_minute(permits, weigh_tokens=True) <= limit


async def test_tokens_are_used_and_spread_evenly(clock: Clock) -> None:
    begun = clock.now
    permits = await clock.starts(Pacer(tokens_per_minute=60_000), 2000, tokens=100)
    assert 0.95 * 60_000 <= (len(permits) - 1) * 100 / (clock.now - begun) * 60 <= 60_000
    assert most_in_a_second(permits) <= 11


async def test_an_underestimated_call_delays_the_next_ones(clock: Clock) -> None:
    pacer = Pacer(tokens_per_minute=1000)
    first = await pacer.start(10)
    pacer.correct(first, 900)
    assert (await pacer.start(10)).at - first.at > 900 / 1000 * 60
    # More than what is left of the window waits until the first one is out of it.
    assert (await pacer.start(100)).at - first.at > 60


async def test_an_overestimated_call_gives_tokens_back(clock: Clock) -> None:
    pacer = Pacer(tokens_per_minute=1000)
    first = await pacer.start(900)
    pacer.correct(first, 10)
    assert (await pacer.start(900)).at - first.at < 1


async def test_a_correction_after_the_window_changes_no_later_total(clock: Clock) -> None:
    pacer = Pacer(tokens_per_minute=1000)
    first = await pacer.start(900)
    clock.now += 100
    second = await pacer.start(500)
    pacer.correct(first, 0)
    assert (await pacer.start(600)).at - second.at > 60


async def test_a_call_larger_than_the_limit_starts_alone(clock: Clock) -> None:
    pacer = Pacer(tokens_per_minute=1000)
    first, large, after = [await pacer.start(tokens) for tokens in (10, 5000, 10)]
    assert large.at - first.at > 60
    assert after.at - large.at > 60


@pytest.mark.parametrize("rate", [600, None])
async def test_a_pause_holds_every_call_and_the_longest_counts(
    clock: Clock, rate: float | None
) -> None:
    pacer = Pacer(rate)
    await pacer.start()
    paused = clock.now
    pacer.pause(30)
    pacer.pause(5)
    permits = await clock.starts(pacer, 20)
    assert permits[0].at == pytest.approx(paused + 30)
    assert rate is None or most_in_a_second(permits) <= 11


async def test_a_pause_that_begins_while_a_call_waits_holds_that_call(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer = Pacer(1)
    passed: list[float] = []

    async def pass_and_pause() -> None:
        passed.append(clock.now)
        if len(passed) == 1:
            pacer.pause(500)

    monkeypatch.setattr(pacer._requests, "acquire", pass_and_pause)
    permit = await pacer.start()
    assert permit.at == pytest.approx(passed[0] + 500)
    assert passed[1] == permit.at


async def test_without_limits_nothing_waits(clock: Clock) -> None:
    await clock.starts(Pacer(), 100, tokens=10**9)
    assert not clock.sleeps


async def test_less_than_one_a_minute(clock: Clock) -> None:
    permits = await clock.starts(Pacer(0.5), 3)
    assert all(120 < b.at - a.at < 125 for a, b in itertools.pairwise(permits))


@pytest.mark.parametrize("rate", [0, -1, -0.5, math.nan, math.inf])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_impossible_rates_are_refused(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match=name):
        Pacer(**{name: rate})


async def test_first_come_first_served_and_only_the_first_polls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pacer = Pacer(60 * 1000)
    sleeps: list[float] = []
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        sleeps.append(seconds)
        await sleep(seconds)

    served: list[int] = []

    async def wait(number: int) -> None:
        await pacer.start()
        served.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(1200)]
    monkeypatch.setattr(asyncio, "sleep", counted)
    await sleep(0.1)
    # The quota of half a second is through; of the others one polls, at most every 5 ms.
    assert len(served) == 500
    assert 1 <= len(sleeps) <= 25
    for gone in (500, 501, 700):
        tasks[gone].cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert served == [number for number in range(1200) if number not in (500, 501, 700)]
