import asyncio
import io
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.progress import StoppedError, run_blocking


async def test_blocking_work_leaves_the_loop_free_and_gives_its_result() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())

    def work(check: Callable[[], None]) -> int:
        check()
        time.sleep(0.05)
        return 7

    assert await run_blocking(work) == 7
    ticking.cancel()
    assert ticks > 3


async def test_cancelling_ends_the_work_before_it_returns() -> None:
    begun = threading.Event()
    kept: list[str] = []

    def work(check: Callable[[], None]) -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.001)
                check()
        except StoppedError:
            kept.append("what there was")
            raise

    task = asyncio.create_task(run_blocking(work))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept == ["what there was"]


async def test_a_failure_of_the_work_is_raised() -> None:
    def work(check: Callable[[], None]) -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        await run_blocking(work)


def test_away_from_a_terminal_a_phase_is_one_line() -> None:
    output = io.StringIO()
    with ConsoleProgress(Console(file=output, width=120)).counting("Counting", 50) as advance:
        for _ in range(50):
            advance()
    (line,) = output.getvalue().splitlines()
    assert line.startswith("Counting")
    assert "50/50" in line
