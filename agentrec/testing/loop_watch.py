"""Measure how long an event loop was blocked, and by what."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

_TICK = 0.005
_OWN_FILES = (str(Path(asyncio.__file__).parent), __file__)


@dataclass(frozen=True)
class Block:
    """A time in which the loop ran one thing and nothing else.

    Attributes:
        seconds: Duration without machine noise.
        where: ``file:line in function`` of what ran, innermost frame last; empty if it ended
            before a sample was taken.
    """

    seconds: float
    where: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.seconds * 1000:.0f} ms at {' > '.join(self.where) or 'an unknown location'}"


class LoopWatch:
    """Measures the longest time that the running event loop was blocked.

    ``async with LoopWatch(0.05) as watch: ...``, and then ``assert not watch.blocked``. A task
    that does nothing but sleep shows how late the loop comes back to it; a thread beside the
    loop looks at what the loop's thread is doing while it is late.

    What counts. A late tick alone proves nothing on a busy machine: the process may have had no
    processor, or another thread may have held the interpreter lock. So the thread takes samples,
    one every ``threshold / 10`` seconds, of what the loop's thread is at, and a block counts
    with the longer of

    - the processor time that the loop's own thread used in it (it computed), and
    - the time for which samples found it at one and the same instruction of one and the same
      frame (it waited inside a call), without the time by which the samples themselves came
      late: when the sampling thread did not get the processor either, nobody can say.

    A loop waiting for its sockets, or for a lock of the interpreter between two callbacks, does
    neither. What is not seen: a call that waits for many short times at different places, each
    shorter than the threshold; a block that is short and falls in a time when the machine stood
    still. A call into C that holds the interpreter lock and computes is seen by its processor
    time; one that holds the lock and sleeps stops the sampling thread as well and is not.

    Args:
        threshold: From how many seconds on a block is listed, above 0.

    Raises:
        ValueError: If the threshold is not above 0.
    """

    def __init__(self, threshold: float = 0.05) -> None:
        if not threshold > 0:
            raise ValueError(f"threshold is above 0, not {threshold}")
        self.threshold = threshold
        self.longest = 0.0
        self.blocked: list[Block] = []
        self._sampler: _Sampler | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.longest, self.blocked = 0.0, []
        thread = threading.current_thread()
        self._sampler = _Sampler(thread, self.threshold / 10)
        # Starting and stopping a thread waits for it, which the watched loop must not do.
        await asyncio.to_thread(self._sampler.start)
        self._ticker = asyncio.create_task(self._tick(self._sampler))
        # The ticker must be waiting before the watched code begins.
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The last block is known only after one more tick.
        await asyncio.sleep(2 * _TICK)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        if self._sampler is not None:
            await asyncio.to_thread(self._sampler.stop)

    async def _tick(self, sampler: _Sampler) -> None:
        while True:
            begun, worked = time.perf_counter(), time.thread_time()
            sampler.begin()
            await asyncio.sleep(_TICK)
            late = time.perf_counter() - begun - _TICK
            worked = time.thread_time() - worked
            stay = sampler.found()
            # It cannot have been longer than the tick was late.
            seconds = max(0.0, min(late, max(worked, stay.seconds)))
            self.longest = max(self.longest, seconds)
            if seconds >= self.threshold:
                self.blocked.append(Block(seconds, stay.where))


@dataclass(frozen=True)
class _Stay:
    """Consecutive samples that found a thread at one instruction."""

    here: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    where: tuple[str, ...] = ()


class _Sampler(threading.Thread):
    """Samples where another thread is.

    Without a lock, on which the loop might wait: the two stays are replaced together. A late
    sample counts at worst for the next tick, which was not late.
    """

    def __init__(self, watched: threading.Thread, interval: float) -> None:
        super().__init__(name="loop-watch", daemon=True)
        self._watched = watched
        self._interval = interval
        self._ended = threading.Event()
        self._now_and_longest = (_Stay(), _Stay())

    def begin(self) -> None:
        """Forget earlier samples."""
        self._now_and_longest = (_Stay(), _Stay())

    def found(self) -> _Stay:
        """Return the longest stay at one instruction since ``begin``."""
        return self._now_and_longest[1]

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Sample until stopped."""
        queued = _queued(self._watched)
        while not self._ended.wait(self._interval):
            queued, before = _queued(self._watched), queued
            # However late it comes, a sample counts for one interval.
            self._look(max(0.0, self._interval - (queued - before)))

    def _look(self, spent: float) -> None:
        frame = sys._current_frames().get(self._watched.ident or 0)
        now, longest = self._now_and_longest
        if frame is None or _idle(frame):
            self._now_and_longest = (_Stay(), longest)
            return
        # The frame itself is not kept: it would keep all its variables alive.
        here = (id(frame), frame.f_lasti)
        if here == now.here:
            now = _Stay(here, now.seconds + spent, now.where)
        else:
            now = _Stay(here, spent, _described(frame))
        self._now_and_longest = (now, now if now.seconds >= longest.seconds else longest)


def _queued(thread: threading.Thread) -> float:
    """Return the seconds a thread has waited for a processor; 0 if unknown."""
    try:
        schedstat = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text(
            encoding="ascii"
        )
        return int(schedstat.split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _idle(frame: FrameType) -> bool:
    """Return whether a loop waits for its sockets or is between two callbacks."""
    code = frame.f_code
    if code.co_filename.endswith("selectors.py"):
        return True
    # In Handle._run, a callback that is written in C may be what runs.
    return code.co_filename.startswith(_OWN_FILES) and code.co_name != "_run"


def _described(frame: FrameType, most: int = 4) -> tuple[str, ...]:
    """Return the innermost frames of a stack down to the loop's own, innermost last."""
    lines: list[str] = []
    outer: FrameType | None = frame
    while outer is not None and len(lines) < most:
        code = outer.f_code
        if lines and code.co_filename.startswith(_OWN_FILES):
            break
        lines.append(f"{code.co_filename}:{outer.f_lineno} in {code.co_name}")
        outer = outer.f_back
    return tuple(reversed(lines))
