"""Recommending for the sessions of a file: `agentrec batch`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from agentrec.app.accounts import UsageReport, UsageRow
from agentrec.app.batch.origin import batch_manifest, claim_input, claim_knowledge
from agentrec.app.batch.progress import BatchProgress
from agentrec.app.batch.running import BatchRunner
from agentrec.app.run_parts import RunPlace
from agentrec.app.serving import find_serving, serving_parts
from agentrec.app.settings import DemoSettings
from agentrec.data.session_row_count import count_session_rows
from agentrec.data.session_row_stream import stream_session_rows
from agentrec.data.session_rows import read_session_rows
from agentrec.errors import InputError
from agentrec.runs.batch.records import BatchCounts
from agentrec.runs.batch.result_format import ResultFormat, ResultFormatName
from agentrec.runs.batch.session_log import SessionLog
from agentrec.runs.run_folder import RunFolder, write_json


@dataclass(frozen=True)
class BatchOptions:
    """What a batch is about.

    Attributes:
        sessions: The file of sessions.
        out: Where results go.
        form: How they are written.
        retry_failed: Whether sessions that failed before are tried again.
        resume: Whether to go on with what is in ``out``.
        time_limit: After how many seconds a session is given up; ``None`` for never.
    """

    sessions: Path
    out: Path
    form: ResultFormatName = "parquet"
    retry_failed: bool = False
    resume: bool = True
    time_limit: float | None = None


class BatchSummary(BaseModel):
    """What came of a batch in all its attempts; ``summary.json`` beside the results.

    Attributes:
        done: Sessions with a result.
        failed: Sessions that failed, by kind.
        rejected: Rows that are no sessions, by reason.
        attempted: Sessions that this attempt worked on.
        seconds: How long this attempt worked, the opening of the run not counted.
        latency: Seconds that a session of this attempt took, by quantile: p50, p90, p99.
        usage: What calls to the model came to, over all attempts.
        currency: What money is counted in.
    """

    model_config = ConfigDict(frozen=True)

    done: int
    failed: dict[str, int]
    rejected: dict[str, int]
    attempted: int
    seconds: float
    latency: dict[str, float]
    usage: UsageRow
    currency: str

    @property
    def is_clean(self) -> bool:
        """Whether every row of the input has a result."""
        return not self.failed and not self.rejected


async def run_batch(
    settings: DemoSettings, options: BatchOptions, console: Console
) -> BatchSummary:
    """Work through a file of sessions, or go on with it.

    Args:
        settings: Those of the run whose model, hints and policy are used.
        options: What to do.
        console: Where to say how it goes.

    Raises:
        InputError: If a file or a setting cannot be used, or the folder holds another batch.
        ModelCallError: If the budget is spent; with a larger one the same again goes on.
        StoreError: If another process has the folder or the knowledge base open.
    """
    folder = RunFolder(options.out, "--out")
    if not options.resume and folder.manifest.is_file():
        raise InputError("holds a batch already; name another folder with --out", file=options.out)
    place = await find_serving(settings, console)
    total = await asyncio.to_thread(_looked_at, options.sessions, place)
    await asyncio.to_thread(folder.begin, batch_manifest(place))
    async with serving_parts(place, console, calls=folder.calls, usage=folder.usage) as parts:
        form = ResultFormat(options.form)
        async with await SessionLog.open(options.out, form) as log:
            await claim_input(log, options.sessions)
            await claim_knowledge(log, parts)
            progress = BatchProgress(console, total, parts)
            runner = BatchRunner(
                parts.components,
                log,
                concurrency=parts.concurrency,
                retry_failed=options.retry_failed,
                time_limit=options.time_limit,
                on_progress=progress.update,
            )
            rows = stream_session_rows(options.sessions, parts.dataset.catalog)
            begun = perf_counter()
            try:
                async with aclosing(rows):
                    with progress:
                        await runner.run(rows)
            finally:
                # Also of a batch that is stopped: what is done is to be found in the files.
                await log.flush()
                counts = await log.counts()
                usage = await UsageReport.of(parts.journal, settings.prices.table())
                summary = _summary(counts, runner, usage, perf_counter() - begun)
                told = summary.model_dump(mode="json")
                await asyncio.to_thread(write_json, options.out / "summary.json", told)
    return summary


def _looked_at(sessions: Path, place: RunPlace) -> int | None:
    """About how many rows there are; raises if the file is none, before anything is made."""
    with closing(read_session_rows(sessions, place.dataset.catalog)) as rows:
        next(rows, None)
    return count_session_rows(sessions)


def _summary(
    counts: BatchCounts, runner: BatchRunner, usage: UsageReport, seconds: float
) -> BatchSummary:
    tally = runner.tally
    taken = np.array(tally.seconds) if tally.seconds else np.zeros(1)
    return BatchSummary(
        done=counts.done,
        failed=dict(counts.failed),
        rejected=dict(counts.rejected),
        attempted=tally.done + tally.failed.total(),
        seconds=round(seconds, 3),
        latency={f"p{q}": round(float(np.percentile(taken, q)), 4) for q in (50, 90, 99)},
        usage=usage.total,
        currency=usage.currency,
    )
