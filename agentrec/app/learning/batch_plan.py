"""What a batch would cost: `agentrec batch --dry-run`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.cost_estimate import (
    REPEATED_SHARE,
    TYPICAL_HINT,
    CallPlan,
    answer_lengths,
    paid_in,
    plan_report,
    recording_components,
)
from agentrec.app.reports.tables import show
from agentrec.batch.partitions import BatchOptions
from agentrec.data.session_rows import SessionRow, count_session_rows, read_session_rows
from agentrec.errors import InputError
from agentrec.graphs.recommendation.ranking import ground, recommend
from agentrec.llm.cost.estimate import PlannedCalls
from agentrec.llm.cost.usage import Spending
from agentrec.runs.open_run import ResolvedRun, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

_MAX_ROWS = 2000
"""How many rows are read to find the share of usable ones."""
_SAMPLES = 16
"""For how many sessions prompts are made."""


async def print_batch_plan(settings: RunSettings, options: BatchOptions, console: Console) -> None:
    """Print the calls, tokens, money and time of a batch, and what the estimate is based on.

    Args:
        settings: Settings of the run whose model, hints and policy are used.
        options: What the batch is asked to do.
        console: Where to print.

    Raises:
        InputError: If a file or a setting cannot be used.
    """
    run = await resolve_run(settings, ConsoleProgress(console))
    folder = RunFolder(options.out, "--out")
    paid = await paid_in(folder.calls)
    earlier = (*paid, *await paid_in(run.folder.calls))
    plan = await _plan(run, options.sessions, earlier)
    model = None if run.named is None else run.named.identity
    show(plan_report(plan, settings, model, paid, options.out), console)


async def _plan(run: ResolvedRun, file: Path, paid: tuple[Spending, ...]) -> CallPlan:
    sample = await asyncio.to_thread(_sample, run, file)
    components, recorder = recording_components(run.settings, run.dataset, run.prompts)
    for session in sample.sessions:
        await ground(await recommend(session, TYPICAL_HINT, components), components)
    usable = round(sample.rows * sample.usable / sample.read)
    lengths, measured = answer_lengths(paid)
    shuffles = run.settings.llm.shuffles
    rankings = shuffles * usable
    asked = recorder.asked
    return CallPlan(
        (
            PlannedCalls("rank", rankings, asked["recommend"], lengths["recommend"]),
            PlannedCalls(
                "ask again", round(REPEATED_SHARE * rankings), asked["repair"], lengths["repair"]
            ),
        ),
        (
            f"{sample.rows:,} rows; of the first {sample.read:,}, {sample.usable:,} are sessions;"
            f" each asked {shuffles}x, with a hint",
            f"assumed: {REPEATED_SHARE:.0%} of answers are incomplete and asked for again",
            f"length of prompts from {len(sample.sessions)} sessions, 4 characters a token; of"
            " answers " + (f"from {measured} paid answers" if measured else "assumed"),
        ),
    )


@dataclass(frozen=True)
class _Sample:
    """Some sessions of a file, how many of the rows read are usable, and how many rows it has."""

    sessions: list[Session]
    usable: int
    read: int
    rows: int


def _sample(run: ResolvedRun, file: Path) -> _Sample:
    """Read the first rows of a file; blocks."""
    rows = list(islice(read_session_rows(file, run.dataset.catalog), _MAX_ROWS))
    sessions = [row.session for row in rows if isinstance(row, SessionRow)]
    if not sessions:
        raise InputError(f"none of its first {len(rows)} rows is a usable session", file=file)
    step = max(1, len(sessions) // _SAMPLES)
    total = count_session_rows(file) or len(rows)
    return _Sample(sessions[::step][:_SAMPLES], len(sessions), len(rows), total)
