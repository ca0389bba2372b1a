"""What a person reads at the end of a run."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.metrics import METRICS
from agentrec.evaluation.report import MetricsReport
from agentrec.hints import Hint


def print_hints(file: Path, console: Console) -> None:
    """Print the stored hints with the session each one came from."""
    hints = [Hint.model_validate_json(line) for line in file.read_text("utf-8").splitlines()]
    if not hints:
        console.print("The model learned no hint that repaired an error.")
        return
    table = Table(title=f"{len(hints)} hints learned from errors", title_justify="left")
    table.add_column("hint", overflow="fold")
    table.add_column("from session", overflow="fold")
    table.add_column("gain elsewhere", justify="right")
    table.add_column("tried on", justify="right")
    for hint in hints:
        source = "" if hint.provenance is None else hint.provenance.session_id
        # Text, not markup: a hint is foreign text.
        proof = hint.evidence
        gain = "" if proof is None else f"{proof.mean_gain:+.3f}"
        tried = "" if proof is None else str(proof.sessions)
        table.add_row(Text(hint.text), Text(source), gain, tried)
    console.print(table)


def print_report(report: MetricsReport, data: str, console: Console) -> None:
    """Print the methods, their differences and the calls."""
    title = f"{data}: {report.sessions} test sessions, mean [95 % interval]"
    methods = Table(title=title, title_justify="left")
    methods.add_column("method", no_wrap=True)
    for metric in METRICS:
        methods.add_column(metric, justify="right", no_wrap=True)
    for name, row in report.methods.items():
        methods.add_row(name, *(_shown(row[metric]) for metric in METRICS))
    console.print(methods)
    differences = Table(title="Paired differences", title_justify="left")
    differences.add_column("difference", no_wrap=True)
    for metric in METRICS:
        differences.add_column(metric, justify="right", no_wrap=True)
    for name, row in report.differences.items():
        differences.add_row(name, *(_shown(row[metric], "+") for metric in METRICS))
    console.print(differences)
    gain = report.differences.get("policy - no_hint")
    if gain is not None:
        console.print(_verdict(gain["ndcg@10"]))
    calls = ", ".join(f"{name} {count:,}" for name, count in report.llm_calls.items())
    console.print(f"LLM calls: {calls}", highlight=False)


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _verdict(gain: Interval) -> str:
    if gain.low > 0:
        return "The policy helps: its gain over no hint is above 0 with its whole interval."
    if gain.high < 0:
        return "The policy harms: its gain over no hint is below 0 with its whole interval."
    return "Not shown to help: the interval of the policy's gain over no hint contains 0."
