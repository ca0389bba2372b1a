"""What a person reads at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from agentrec.app.reports.tables import GAIN, Column, Report, Table, show
from agentrec.evaluation.answer_quality import AnswerReport
from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.metrics import METRICS
from agentrec.evaluation.report import MetricsReport
from agentrec.hints import Hint
from agentrec.policies.no_regret_gate import GateVerdict
from agentrec.runs.run_folder import RunFolder
from agentrec.runs.usage_report import UsageReport

_CALLS = {
    "made": "calls of the LLM",
    "cached": "answers that were there already",
    "saved_by_reward_table": "calls avoided by reusing measured rewards",
    "input_tokens": "tokens read",
    "output_tokens": "tokens written",
}


def run_report(folder: RunFolder, metrics: MetricsReport, data: str) -> Report:
    """Report a finished run on some data: hints, answers, metrics and what may go live."""
    return [
        _exploration(folder.exploration),
        _hints(folder.hints),
        *_answers(AnswerReport.model_validate_json(folder.answers.read_bytes())),
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
    unknown = "not known" if any(row.money is not None for row in rows.values()) else None
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
                    *row.model_dump(exclude={"money"}).values(),
                    unknown if row.money is None else f"{row.money:,.4f}",
                )
                for node, row in rows.items()
            ),
        )
    ]


def usage_printer(console: Console, *, always: bool) -> Callable[[UsageReport, bool], None]:
    """Return what prints usage when a run is closed, ``always`` or only if a call was made now."""

    def print_usage(report: UsageReport, made_now: bool) -> None:
        if always or made_now:
            show(usage_report(report), console)

    return print_usage


def metrics_tables(title: str, differences: str, report: MetricsReport) -> Iterator[Table]:
    """Tables of the methods of a report and of their paired differences, with these titles."""
    first, *others = METRICS
    for name, heading, methods, spec in (
        (title, "method", report.methods, ".3f"),
        (differences, "difference", report.differences, GAIN),
    ):
        yield Table(
            f"{name}: mean [95 % interval over sessions]",
            (
                Column(heading, "<"),
                Column(first, spec),
                *(Column(metric, spec, wide_interval=True) for metric in others),
            ),
            tuple(
                (method, *(row[metric] for metric in METRICS)) for method, row in methods.items()
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
            (method, *map(found.share, counts))
            for method, found in report.quality.items()
            for counts in [
                (
                    found.clean,
                    found.structured,
                    found.repaired,
                    found.illegal_answers,
                    found.backfilled,
                )
            ]
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
    yield from metrics_tables(title, "Paired differences", report)
    gain = report.differences.get("policy - no_hint")
    if gain is not None:
        yield _verdict(gain["ndcg@10"])
    for name, count in report.llm_calls.items():
        yield f"{_CALLS.get(name, name)}: {count:,}"


def _verdict(gain: Interval) -> str:
    if gain.low > 0:
        return "The policy helps: the whole interval of its gain over no hint is above 0."
    if gain.high < 0:
        return "The policy harms: the whole interval of its gain over no hint is below 0."
    return "Not shown to help: the interval of the policy's gain over no hint contains 0."
