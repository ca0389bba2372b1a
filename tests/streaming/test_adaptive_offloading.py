from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from agentrec.streaming.adaptive_offloading import AdaptiveOffloader, OffloaderByOwner


async def in_the_loop(
    offloader: AdaptiveOffloader, do: Callable[[], object], times: int
) -> list[bool]:
    threads: list[threading.Thread] = []

    def seen() -> None:
        threads.append(threading.current_thread())
        do()

    for _ in range(times):
        await offloader.run(seen)
    return [thread is threading.main_thread() for thread in threads]


def busy() -> None:
    end = time.thread_time() + 0.002
    while time.thread_time() < end:
        pass


async def test_what_is_short_moves_into_the_loop() -> None:
    assert await in_the_loop(AdaptiveOffloader(), lambda: None, 10) == [False] * 8 + [True] * 2


async def test_what_computes_for_long_stays_in_threads() -> None:
    assert not any(await in_the_loop(AdaptiveOffloader(), busy, 10))


async def test_the_first_times_may_be_cold_ones() -> None:
    offloader = AdaptiveOffloader()
    # All at once, as at the start of a batch.
    await asyncio.gather(*(offloader.run(busy) for _ in range(20)))
    assert await in_the_loop(offloader, lambda: None, 7) == [False] * 5 + [True] * 2


async def test_what_turns_out_to_hold_the_loop_up_goes_back_to_threads() -> None:
    offloader = AdaptiveOffloader()
    await in_the_loop(offloader, lambda: None, 8)
    assert await in_the_loop(offloader, lambda: time.sleep(0.02), 4) == [True, True, False, False]
    assert await in_the_loop(offloader, busy, 4) == [False] * 4
    # Sixty-four in all, with the two from before.
    assert await in_the_loop(offloader, lambda: None, 60) == [False] * 58 + [True] * 2


async def test_once_too_long_may_be_the_machine() -> None:
    offloader = AdaptiveOffloader()
    await in_the_loop(offloader, lambda: None, 8)
    for _ in range(3):
        assert await in_the_loop(offloader, lambda: time.sleep(0.02), 1) == [True]
        assert await in_the_loop(offloader, lambda: None, 1) == [True]


async def test_what_is_raised_comes_out_of_either() -> None:
    offloader = AdaptiveOffloader()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await offloader.run(lambda: 1 / 0)
        await in_the_loop(offloader, lambda: None, 8)
    assert offloader.runs_inline


async def test_each_owner_has_its_own() -> None:
    offloaders = OffloaderByOwner()

    class Owner: ...

    class NoKey:
        __hash__ = None  # type: ignore[assignment]

    first, second, no_key = Owner(), Owner(), NoKey()
    await in_the_loop(offloaders.of(first), lambda: None, 8)
    assert offloaders.of(first).runs_inline
    assert not offloaders.of(second).runs_inline
    await in_the_loop(offloaders.of(no_key), lambda: None, 8)
    assert not offloaders.of(no_key).runs_inline
