import asyncio
import hashlib
import threading
import time

import pytest

from agentrec.testing.loop_watch import LoopWatch

THRESHOLD = 0.05


def nap(seconds: float) -> None:
    time.sleep(seconds)  # the line that blocks


def busy(seconds: float) -> int:
    """Computes for so long, by the clock of its own thread."""
    until, rounds = time.thread_time() + seconds, 0
    while time.thread_time() < until:
        rounds += 1
    return rounds


async def test_a_sleep_in_a_coroutine_is_seen_and_named() -> None:
    async with LoopWatch(THRESHOLD) as watch:
        await asyncio.sleep(0.02)
        nap(0.4)
        await asyncio.sleep(0.02)
    # On a crowded machine part of it cannot be told from noise, so only the order is certain.
    assert watch.longest > 0.1
    (block,) = watch.blocked
    assert block.seconds == watch.longest
    line = nap.__code__.co_firstlineno + 1
    assert block.where[-1] == f"{__file__}:{line} in nap"
    assert block.where[-2].endswith("in test_a_sleep_in_a_coroutine_is_seen_and_named")
    assert f"{line} in nap" in str(block)


async def test_computing_in_a_coroutine_is_seen() -> None:
    async with LoopWatch(THRESHOLD) as watch:
        busy(0.3)
    assert watch.longest > 0.25
    assert any("in busy" in line for block in watch.blocked for line in block.where)


async def test_waiting_for_a_lock_is_seen() -> None:
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.4, lock.release).start()
    async with LoopWatch(THRESHOLD) as watch:
        lock.acquire()
    assert watch.longest > 0.1


async def test_a_blocking_callback_written_in_c_is_seen() -> None:
    async with LoopWatch(THRESHOLD) as watch:
        asyncio.get_running_loop().call_soon(time.sleep, 0.4)
        await asyncio.sleep(0.02)
    assert watch.longest > 0.1


async def test_what_blocks_last_is_seen_too() -> None:
    async with LoopWatch(THRESHOLD) as watch:
        nap(0.4)
    assert len(watch.blocked) == 1


async def test_awaiting_is_no_block() -> None:
    async with LoopWatch(THRESHOLD) as watch:
        await asyncio.gather(*(asyncio.sleep(0.3) for _ in range(20)))
    assert watch.blocked == []


async def test_many_short_callbacks_are_not_a_block() -> None:
    async def turns() -> None:
        for _ in range(1_000):
            await asyncio.sleep(0)

    async with LoopWatch(THRESHOLD) as watch:
        await asyncio.gather(*(turns() for _ in range(20)))
    assert watch.blocked == []


async def test_work_in_threads_is_no_block() -> None:
    data = b"x" * 50_000_000
    async with LoopWatch(THRESHOLD) as watch:
        await asyncio.gather(
            asyncio.to_thread(nap, 0.3),
            asyncio.to_thread(busy, 0.3),
            asyncio.to_thread(hashlib.sha256, data),
        )
    assert watch.blocked == []


async def test_a_block_counts_many_times_what_a_thread_does() -> None:
    longest = []
    for blocking in (True, False):
        async with LoopWatch(THRESHOLD) as watch:
            if blocking:
                nap(0.4)
            else:
                await asyncio.to_thread(nap, 0.4)
        longest.append(watch.longest)
    assert longest[0] > 4 * longest[1]


async def test_it_can_be_used_again_and_lets_errors_through() -> None:
    watch = LoopWatch(THRESHOLD)

    async def failing() -> None:
        async with watch:
            nap(0.4)
            raise KeyError

    with pytest.raises(KeyError):
        await failing()
    assert watch.blocked
    async with watch:
        await asyncio.sleep(0.02)
    assert watch.blocked == []
    assert not [t for t in threading.enumerate() if t.name == "loop-watch"]


def test_a_threshold_is_above_nothing() -> None:
    with pytest.raises(ValueError, match="above 0"):
        LoopWatch(0)
