"""A process that works on parts of a batch: tasks come in by lines, and how they ended goes out.

``python -m agentrec.app.batch.worker``, for ``WorkerProcesses``. When its input ends, whoever
drove it wants it to stop, or is dead.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from contextlib import suppress
from typing import BinaryIO

from agentrec.app.batch.following import work_until
from agentrec.app.batch.partition_work import PartitionTask, PartitionWorker

LONGEST_TASK = 1 << 24
"""Most bytes of a task."""


async def _work(answers: BinaryIO) -> None:
    tasks = asyncio.StreamReader(limit=LONGEST_TASK)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(tasks), sys.stdin)
    worker = PartitionWorker()
    following = asyncio.create_task(tasks.readline())
    while line := await following:
        task = PartitionTask.model_validate_json(line)
        following = asyncio.create_task(tasks.readline())
        # What comes before the task at hand has ended is no other task, but the input's end.
        end = await work_until(worker, task, following)
        answers.write(end.model_dump_json().encode() + b"\n")
        answers.flush()


def main() -> None:
    """Work until the input ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        # If nobody is there any more to be told: what was done is in the logs.
        asyncio.run(_work(answers))
    # As at the end of a command: somebody waits for the prompt.
    gc.freeze()


if __name__ == "__main__":
    main()
