"""What the partitions of a batch came to together, however the work on them ended."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agentrec.atomic_files import write_pieces_atomically
from agentrec.batch.partitions import BatchOptions, Partition
from agentrec.batch.session_log_file import FAILURES, REJECTED, BatchCounts
from agentrec.batch.worker import open_log
from agentrec.errors import InputError
from agentrec.llm.cost.usage import Spending
from agentrec.llm.journal import CallJournal
from agentrec.runs.run_folder import RunFolder
from agentrec.runs.usage_report import UsageReport
from agentrec.settings.run_settings import RunSettings


@dataclass(frozen=True)
class MergedResults:
    """What a batch came to in all its attempts.

    Attributes:
        counts: How many sessions have which outcome.
        usage: Calls to the model, their tokens and cost.
    """

    counts: BatchCounts
    usage: UsageReport


async def merge_results(
    options: BatchOptions, partitions: Sequence[Partition], settings: RunSettings
) -> MergedResults:
    """Write all results to files, and add up the counts.

    Args:
        options: What the batch is asked to do.
        partitions: All of its partitions; no worker has them open.
        settings: Settings with the prices.

    Raises:
        StoreError: If a worker has a partition open, or a log cannot be read or written.
        InputError: If a file is not a session log.
    """
    done, failed, rejected = 0, Counter[str](), Counter[str]()
    spendings: list[Spending] = []
    for partition in partitions:
        folder = RunFolder(partition.folder(options.out))
        if not await asyncio.to_thread(folder.calls.is_file):
            # The batch was stopped before this partition was started.
            continue
        async with await open_log(options, partition) as log:
            await log.flush()
            counts = await log.counts()
        done, failed, rejected = (
            done + counts.done,
            failed + Counter(counts.failed),
            rejected + Counter(counts.rejected),
        )
        async with await CallJournal.open(folder.calls) as journal:
            spendings += await journal.spendings()
    usage = UsageReport.of_spendings(spendings, settings.prices.table())
    await asyncio.to_thread(usage.save, RunFolder(options.out).usage)
    if len(partitions) > 1:
        folders = [partition.folder(options.out) for partition in partitions]
        for name in (FAILURES, REJECTED):
            files = [folder / name for folder in folders]
            await asyncio.to_thread(_merge_lines, files, options.out / name)
    return MergedResults(BatchCounts(done, failed, rejected), usage)


def _merge_lines(files: Sequence[Path], merged: Path) -> None:
    """Merge files of JSON lines in the order of the input."""
    existing = [file for file in files if file.is_file()]
    if not existing:
        merged.unlink(missing_ok=True)
        return
    try:
        with ExitStack() as stack:
            # Not in memory: there may be millions of lines.
            lines = [_with_row_index(stack.enter_context(file.open("rb"))) for file in existing]
            write_pieces_atomically(merged, (line for _, line in heapq.merge(*lines)))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=merged) from error


def _with_row_index(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    for line in lines:
        yield int(json.loads(line)["row_index"]), line
