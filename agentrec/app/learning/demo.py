"""The demonstration: a run from its settings to its report."""

from __future__ import annotations

import asyncio

from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.closed_loop import ClosedLoop
from agentrec.app.reports.run_report import run_report, usage_printer, usage_report
from agentrec.app.reports.tables import show
from agentrec.evaluation.report import MetricsReport
from agentrec.runs.open_run import open_run, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.runs.usage_report import UsageReport
from agentrec.settings.run_settings import RunSettings


async def run_demo(settings: RunSettings, console: Console) -> MetricsReport:
    """Run the closed loop, or resume it, and print its report.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        FetchError: If something cannot be downloaded.
        ModelCallError: If a model call failed for good, or the budget is spent; run again to
            resume.
    """
    display = ConsoleProgress(console)
    resolved = await resolve_run(settings, display)
    folder = resolved.folder
    await resolved.begin()
    finished = await asyncio.to_thread(_finished_report, folder)
    if finished is None:
        usage = usage_printer(console, always=True)
        async with open_run(resolved, display, on_usage=usage) as run:
            await ClosedLoop(run).run()
        finished = await asyncio.to_thread(_finished_report, folder)
        if finished is None:
            raise RuntimeError("the run ended without a report")
    else:
        console.print("This run is finished; nothing is computed again.")
        if folder.usage.is_file():
            show(usage_report(UsageReport.load(folder.usage)), console)
    show(run_report(folder, finished, resolved.dataset.name), console)
    return finished


def _finished_report(folder: RunFolder) -> MetricsReport | None:
    # A file that was removed is made again, at no cost: every answer is in the journal.
    files = (folder.metrics, folder.hints, folder.exploration, folder.answers)
    if not all(path.exists() for path in (*files, folder.knowledge_base, folder.live)):
        return None
    return MetricsReport.model_validate_json(folder.metrics.read_bytes())
