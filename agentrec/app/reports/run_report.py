"""What a person reads at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from agentrec.app.reports.tables import GAIN, Cell, Column, Report, Table, show
from agentrec.evaluation.answer_quality import AnswerReport
from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.metrics import METRICS
from agentrec.evaluation.report import MetricsReport
from agentrec.hints import Hint
from agentrec.policies.no_regret_gate import GateVerdict
from agentrec.runs.run_folder import RunFolder
from agentrec.runs.usage_report import UsageReport


def run_report(folder: RunFolder, metrics: MetricsReport, data: str) -> Report:
    """Report a finished run: hints, answers, metrics and what may go live. Reads its files.

    Args:
        folder: The run.
        metrics: Its metrics.
        data: Name of the data.
    """
    return [
        _exploration(folder.exploration),
        _hints(folder.hints),
        *_answers(AnswerReport.load(folder.answers)),
        *_metrics(metrics, data),
        *gate_report(folder.gate),
        f"Everything of this run is in {folder.path}",
    ]


def gate_report(file: Path) -> Sequence[str]:
    """Report which policy may go live, and why; nothing before one was judged."""
    return GateVerdict.model_validate_json(file.read_bytes()).lines() if file.is_file() else []


def usage_report(report: UsageReport) -> Report:
    """Report the model calls of all attempts; nothing where there was none."""
    if not report.by_node:
        return []
    rows = {**report.by_node, "total": report.total}
    priced = any(row.money is not None for row in rows.values())

    def money(row_money: float | None) -> Cell:
        if row_money is not None:
            return f"{row_money:,.4f}"
        return "not known" if priced else None

    counts = ("calls", "failed", "retried", "tokens read", "tokens written")
    return [
        Table(
            "Calls to the model, over all attempts of this run",
            (
                Column("for", "<"),
                *(Column(name, ",") for name in counts),
                Column(report.currency or "money", ">"),
            ),
            tuple(
                (
                    node,
                    row.calls,
                    row.failures,
                    row.retries,
                    row.input_tokens,
                    row.output_tokens,
                    money(row.money),
                )
                for node, row in rows.items()
            ),
        )
    ]


def usage_printer(console: Console, *, always: bool) -> Callable[[UsageReport, bool], None]:
    """Return what prints usage when a run is closed.

    Args:
        console: Where to print.
        always: Whether to print even if no call was made now.
    """

    def print_usage(report: UsageReport, made_now: bool) -> None:
        if always or made_now:
            show(usage_report(report), console)

    return print_usage


def metrics_table(title: str, heading: str, report: MetricsReport, *, paired: bool) -> Table:
    """Table of the methods of a report, or of their paired differences."""
    first, *others = METRICS
    spec = GAIN if paired else ".3f"
    return Table(
        f"{title}: mean [95 % interval over sessions]",
        (
            Column(heading, "<"),
            Column(first, spec),
            *(Column(metric, spec, wide_interval=True) for metric in others),
        ),
        tuple(
            (name, *(row[metric] for metric in METRICS))
            for name, row in (report.differences if paired else report.methods).items()
        ),
    )


def _exploration(file: Path) -> str:
    found = json.loads(file.read_text("utf-8"))
    refused = sorted(found["refused"].items(), key=lambda entry: (-entry[1], entry[0]))
    reasons = "; ".join(f"{count} {reason}" for reason, count in refused)
    return (
        f"{found['explored']} training sessions explored, {found['errors']} errors;"
        f" {found['stored']} hints stored, {sum(found['refused'].values())} refused"
        + (f" ({reasons})." if reasons else ".")
    )


def _hints(file: Path) -> str | Table:
    hints = [Hint.model_validate_json(line) for line in file.read_text("utf-8").splitlines()]
    if not hints:
        return "The model learned no hint that repaired an error and helped elsewhere."
    return Table(
        f"{len(hints)} hints, written by the model after errors on training sessions",
        (
            Column("hint"),
            Column("from session"),
            Column("gain elsewhere", GAIN),
            Column("tried on", ","),
        ),
        tuple(
            (
                hint.text,
                None if hint.provenance is None else hint.provenance.session_id,
                None if hint.evidence is None else hint.evidence.mean_gain,
                None if hint.evidence is None else hint.evidence.sessions,
            )
            for hint in hints
        ),
    )


def _answers(report: AnswerReport) -> Iterator[str | Table]:
    headings = ("clean", "from JSON", "asked again", "illegal lines", "filled up")
    yield Table(
        "Answers on test sessions, before they were filled up",
        (Column("method", "<"), *(Column(name, ".1%") for name in headings)),
        tuple(
            (
                method,
                *(
                    quality.share(count)
                    for count in (
                        quality.clean,
                        quality.structured,
                        quality.repaired,
                        quality.illegal_answers,
                        quality.backfilled,
                    )
                ),
            )
            for method, quality in report.quality.items()
        ),
    )
    if bias := report.position_bias.get("no_hint"):
        yield "Hits without a hint, by the target's position among the candidates shown:"
        yield from bias.lines()
    notes = sum((Counter(quality.notes) for quality in report.quality.values()), Counter[str]())
    for note, count in notes.most_common():
        yield f"note, {count} times: {note}"


def _metrics(report: MetricsReport, data: str) -> Iterator[str | Table]:
    title = f"{data}, {report.sessions} test sessions"
    yield metrics_table(title, "method", report, paired=False)
    yield metrics_table("Paired differences", "difference", report, paired=True)
    gain = report.differences.get("policy - no_hint")
    if gain is not None:
        yield _verdict(gain["ndcg@10"])
    calls = ", ".join(f"{name} {count:,}" for name, count in report.llm_calls.items())
    yield f"LLM calls: {calls}"


def _verdict(gain: Interval) -> str:
    if gain.low > 0:
        return "The policy helps: the whole interval of its gain over no hint is above 0."
    if gain.high < 0:
        return "The policy harms: the whole interval of its gain over no hint is below 0."
    return "Not shown to help: the interval of the policy's gain over no hint contains 0."


def new_table(title: str) -> RichTable:
    """A table without columns yet, in the style of all."""
    return RichTable(
        title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, title_style="bold"
    )
