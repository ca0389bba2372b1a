"""A batch by several processes of this machine."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentrec.app.batch.engine import TO_END, PartitionEnd, WorkerError
from agentrec.app.batch.following import Follower
from agentrec.app.batch.partition_work import PartitionTask
from agentrec.app.batch.standing import Standing
from agentrec.batch.partitions import Partition

_MOST_DEATHS = 3
"""How often in a row a process may die over a part without getting anything done."""
_TO_TELL = 10.0
"""For how many seconds a process that is done is waited for: telemetry may have to be sent."""


class WorkerProcesses:
    """Works on parts of a batch, each in a process; one that dies is replaced.

    Args:
        workers: How many at a time, at least 1.
        logs: Folder for what they print, a file each.
    """

    def __init__(self, workers: int, logs: Path) -> None:
        self._workers = workers
        self._logs = logs
        self._follower = Follower()

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on parts, so many at a time; see ``BatchEngine.run``.

        Raises:
            WorkerError: Also if a process died several times and got nothing done.
        """
        await self._follower.begin(tasks)
        await asyncio.to_thread(lambda: self._logs.mkdir(parents=True, exist_ok=True))
        waiting, out_of_money = deque(tasks), list[Partition]()
        count = min(self._workers, len(tasks))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    log = self._logs / f"worker-{number}.log"
                    group.create_task(_Worker(log).work_on(waiting, out_of_money))
        except BaseExceptionGroup as failures:
            # One stopped the others; they are told of by one line.
            raise failures.exceptions[0] from None
        finally:
            await asyncio.to_thread(self._forget_empty_logs)
        return out_of_money

    async def standing(self) -> Standing:
        """What this attempt came to up to now."""
        return await self._follower.standing()

    def _forget_empty_logs(self) -> None:
        for log in self._logs.glob("worker-*.log"):
            if not log.stat().st_size:
                log.unlink()
        if not any(self._logs.iterdir()):
            self._logs.rmdir()


@dataclass(frozen=True)
class _Started:
    process: Process
    tasks: asyncio.StreamWriter
    ends: asyncio.StreamReader


class _Worker:
    """One process at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._started: _Started | None = None

    async def work_on(self, waiting: deque[PartitionTask], out_of_money: list[Partition]) -> None:
        """Take parts until there are none left."""
        patience = TO_END
        try:
            while waiting:
                task = waiting.popleft()
                end = await self._work_on(task)
                if end.is_out_of_money:
                    out_of_money.append(task.partition)
                elif end.kind != "done":
                    raise end.error()
            patience = _TO_TELL
        finally:
            await self._end(patience)

    async def _work_on(self, task: PartitionTask) -> PartitionEnd:
        deaths, before = 0, 0
        while True:
            started = self._started
            if started is None:
                started = self._started = await self._begin()
            end = await _asked(started, task)
            if end is not None:
                return end
            status = await started.process.wait()
            self._started = None
            done = (await asyncio.to_thread(Standing.load, task.standing)).attempted
            deaths, before = (1 if done > before else deaths + 1), done
            if deaths == _MOST_DEATHS:
                raise WorkerError(
                    f"a process that worked on the batch ended {deaths} times with nothing done, "
                    f"last with {_told(status)}; what it printed: {self._log}"
                )

    async def _begin(self) -> _Started:
        log = await asyncio.to_thread(self._log.open, "ab")
        with log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentrec.app.batch.worker"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                # Ctrl-C is for who drives it, who tells it to stop in its own way.
                start_new_session=True,
            )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process was begun without its pipes")
        return _Started(process, process.stdin, process.stdout)

    async def _end(self, patience: float) -> None:
        """Let the process end; it stops where it is when its input ends.

        One that does not, because it has only begun or is held up, is killed: its log and its
        journal can bear that.
        """
        if self._started is None:
            return
        process = self._started.process
        self._started.tasks.close()
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _asked(started: _Started, task: PartitionTask) -> PartitionEnd | None:
    """How the work on a part ended; ``None`` if the process did before it could say."""
    try:
        started.tasks.write(task.model_dump_json().encode() + b"\n")
        await started.tasks.drain()
    except (BrokenPipeError, ConnectionResetError):
        return None
    line = await started.ends.readline()
    return PartitionEnd.model_validate_json(line) if line.endswith(b"\n") else None


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
