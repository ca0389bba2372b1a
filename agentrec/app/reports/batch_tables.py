"""What a person reads at the end of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from agentrec.app.batch.work import BatchSummary
from agentrec.batch.session_log_file import RESULTS


def print_summary(summary: BatchSummary, out: Path, console: Console) -> None:
    """Print what came of a batch, and where it lies."""
    rate = summary.attempted / summary.seconds if summary.seconds else 0.0
    latency = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in summary.latency.items())
    lines = [f"Sessions with a result: {summary.done:,}: {out / RESULTS}"]
    if summary.failed:
        lines.append(
            f"Failed: {_told(summary.failed)}: {out / 'failures.jsonl'}; --retry-failed tries again"
        )
    if summary.rejected:
        lines.append(
            f"Rows that are no sessions: {_told(summary.rejected)}: {out / 'rejected.jsonl'}"
        )
    if summary.attempted:
        took = f"; one with a result took {latency}, its wait for a call counted" if latency else ""
        lines.append(
            f"This time {summary.attempted:,} in {summary.seconds:,.1f} s ({rate:,.1f}/s){took}"
        )
    usage = summary.usage
    if usage.calls:
        money = "" if usage.money is None else f", {usage.money:,.4f} {summary.currency}".rstrip()
        lines.append(
            f"In all: {usage.calls:,} calls, {usage.failures:,} of them failed,"
            f" {usage.input_tokens:,} tokens read, {usage.output_tokens:,} written{money}"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1])
    )
