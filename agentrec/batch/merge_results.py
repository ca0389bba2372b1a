"""Putting together what the parts of a batch came to, however the work on them ended."""

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
from agentrec.batch.session_log_file import BatchCounts, Remarks
from agentrec.batch.worker import open_log
from agentrec.errors import InputError
from agentrec.llm.cost.usage import NodeUsage
from agentrec.llm.journal.journal import CallJournal
from agentrec.runs.run_folder import RunFolder
from agentrec.runs.usage_report import UsageReport, UsageRow
from agentrec.settings.run_settings import RunSettings


@dataclass(frozen=True)
class Gathered:
    """What a batch came to in all its attempts.

    Attributes:
        counts: How many sessions came to what.
        usage: What calls to the model came to.
    """

    counts: BatchCounts
    usage: UsageReport


async def gather_parts(
    options: BatchOptions, parts: Sequence[Partition], settings: RunSettings
) -> Gathered:
    """Have all results in files, and add up what there is.

    Args:
        options: What the batch is about.
        parts: All of its parts; nobody works on them.
        settings: Whose prices are used.

    Raises:
        StoreError: If somebody works on a part, or a log cannot be read or written.
        InputError: If a log is none.
    """
    counts, usages = BatchCounts(), []
    for partition in parts:
        folder = RunFolder(partition.folder(options.out))
        if not await asyncio.to_thread(folder.calls.is_file):
            # Stopped before it was begun.
            continue
        async with await open_log(options, partition) as log:
            await log.flush()
            counts = _sum(counts, await log.counts())
        async with await CallJournal.open(folder.calls) as journal:
            usages.append(await UsageReport.of(journal, settings.prices.table()))
    usage = _usage(usages, settings)
    await asyncio.to_thread(usage.save, RunFolder(options.out).usage)
    if len(parts) > 1:
        folders = [partition.folder(options.out) for partition in parts]
        remarks: tuple[Remarks, ...] = ("failures", "rejected")
        for name in remarks:
            await asyncio.to_thread(_merge, name, folders, options.out)
    return Gathered(counts, usage)


def _sum(one: BatchCounts, other: BatchCounts) -> BatchCounts:
    return BatchCounts(
        done=one.done + other.done,
        failed=Counter(one.failed) + Counter(other.failed),
        rejected=Counter(one.rejected) + Counter(other.rejected),
    )


def _usage(reports: Sequence[UsageReport], settings: RunSettings) -> UsageReport:
    by_node: dict[str, UsageRow] = {}
    for report in reports:
        for node, row in report.by_node.items():
            by_node[node] = by_node[node] + row if node in by_node else row
    total = sum(by_node.values(), UsageRow.of(NodeUsage()))
    return UsageReport(currency=settings.prices.currency, by_node=by_node, total=total)


def _merge(name: Remarks, folders: Sequence[Path], out: Path) -> None:
    """Put together what parts say of sessions without a result, in the order of the input."""
    whole = out / f"{name}.jsonl"
    files = [folder / whole.name for folder in folders if (folder / whole.name).is_file()]
    if not files:
        whole.unlink(missing_ok=True)
        return
    try:
        with ExitStack() as stack:
            # Not in memory: there may be millions.
            lines = [_placed(stack.enter_context(file.open("rb"))) for file in files]
            write_pieces_atomically(whole, (line for _, line in heapq.merge(*lines)))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=whole) from error


def _placed(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    for line in lines:
        yield int(json.loads(line)["place"]), line
