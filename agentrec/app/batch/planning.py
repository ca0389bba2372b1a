"""What a batch would cost, told before anything is asked."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

from rich.console import Console

from agentrec.app.batch.options import BatchOptions
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.cost_estimate import (
    REPEATED_SHARE,
    TYPICAL_HINT,
    CallPlan,
    answer_lengths,
    paid_in,
    print_plan,
    recording_components,
)
from agentrec.data.session_rows import SessionRow, count_session_rows, read_session_rows
from agentrec.errors import InputError
from agentrec.graphs.recommendation.ranking import ground, recommend
from agentrec.llm.cost.estimate import PlannedCalls
from agentrec.llm.cost.usage import Spending
from agentrec.runs.open_run import ResolvedRun, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

# How many rows are looked at, and of how many prompts are made.
_LOOKED_AT = 2000
_SAMPLES = 16


async def tell_batch_plan(settings: RunSettings, options: BatchOptions, console: Console) -> None:
    """Print calls, tokens, money and time of a batch, and what they rest on.

    Args:
        settings: Those of the run whose model, hints and policy are used.
        options: What the batch is about.
        console: Where to print.

    Raises:
        InputError: If a file or a setting cannot be used.
    """
    place = await resolve_run(settings, ConsoleProgress(console))
    folder = RunFolder(options.out, "--out")
    paid = await paid_in(folder.calls)
    earlier = (*paid, *await paid_in(place.folder.calls))
    plan = await _plan(place, options.sessions, earlier)
    model = None if place.named is None else place.named.identity
    print_plan(plan, settings, model, paid, options.out, console)


async def _plan(place: ResolvedRun, file: Path, paid: tuple[Spending, ...]) -> CallPlan:
    sessions, looked_at, rows = await asyncio.to_thread(_sampled, place, file)
    components, recorder = recording_components(place.settings, place.dataset, place.prompts)
    for session in sessions:
        await ground(await recommend(session, TYPICAL_HINT, components), components)
    count = round(rows * looked_at[0] / looked_at[1])
    lengths, measured = answer_lengths(paid)
    rankings = place.settings.llm.shuffles * count
    asked = recorder.asked
    return CallPlan(
        (
            PlannedCalls("rank", rankings, asked["recommend"], lengths["recommend"]),
            PlannedCalls(
                "ask again", round(REPEATED_SHARE * rankings), asked["repair"], lengths["repair"]
            ),
        ),
        (
            f"{rows:,} rows, of the first {looked_at[1]:,} of which {looked_at[0]:,} are sessions;"
            f" each asked {place.settings.llm.shuffles}x, with a hint",
            f"guessed: {REPEATED_SHARE:.0%} of answers fall short",
            f"length of prompts from {len(sessions)} sessions, 4 characters a token; of answers "
            + (f"from {measured} paid answers" if measured else "guessed"),
        ),
    )


def _sampled(place: ResolvedRun, file: Path) -> tuple[list[Session], tuple[int, int], int]:
    """Some sessions; how many of how many rows are sessions; how many rows there are. Blocks."""
    rows = list(islice(read_session_rows(file, place.dataset.catalog), _LOOKED_AT))
    sessions = [row.session for row in rows if isinstance(row, SessionRow)]
    if not sessions:
        raise InputError("its first rows are no sessions that could be recommended for", file=file)
    step = max(1, len(sessions) // _SAMPLES)
    total = count_session_rows(file)
    return sessions[::step][:_SAMPLES], (len(sessions), len(rows)), total or len(rows)
