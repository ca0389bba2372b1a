"""What a person reads at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.evaluation.answer_quality import AnswerReport
from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.metrics import METRICS, MetricName
from agentrec.evaluation.report import MetricsReport
from agentrec.hints import Hint
from agentrec.policies.no_regret_gate import GateVerdict
from agentrec.runs.usage_report import UsageReport

WIDE = 110
"""Columns from which on every metric is shown with its interval, not the first alone."""


def print_exploration(file: Path, console: Console) -> None:
    """Print how many errors there were to learn from, and why proposals were refused."""
    told = json.loads(file.read_text("utf-8"))
    refused = sorted(told["refused"].items(), key=lambda entry: (-entry[1], entry[0]))
    reasons = "; ".join(f"{count} {reason}" for reason, count in refused)
    console.print(
        f"{told['explored']} training sessions explored, {told['errors']} errors;"
        f" {told['stored']} hints stored, {sum(told['refused'].values())} refused"
        + (f" ({reasons})." if reasons else "."),
        highlight=False,
    )


def print_hints(file: Path, console: Console) -> None:
    """Print the stored hints with the session each one came from."""
    hints = [Hint.model_validate_json(line) for line in file.read_text("utf-8").splitlines()]
    if not hints:
        console.print("The model learned no hint that repaired an error and helped elsewhere.")
        return
    table = new_table(f"{len(hints)} hints, written by the model after errors on training sessions")
    table.add_column("hint", overflow="fold")
    table.add_column("from session", overflow="fold")
    table.add_column("gain elsewhere", justify="right")
    table.add_column("tried on", justify="right")
    for hint in hints:
        source = "" if hint.provenance is None else hint.provenance.session_id
        proof = hint.evidence
        gain = "" if proof is None else f"{proof.mean_gain:+.3f}"
        tried = "" if proof is None else str(proof.sessions)
        # Text, not markup: a hint is foreign text.
        table.add_row(Text(hint.text), Text(source), gain, tried)
    console.print(table)


def print_gate(file: Path, console: Console) -> None:
    """Print which policy may go live, and why."""
    if file.is_file():
        verdict = GateVerdict.model_validate_json(file.read_bytes())
        for line in verdict.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_answers(report: AnswerReport, console: Console) -> None:
    """Print how well-formed the answers on test sessions were, and which places they favour."""
    table = new_table("Answers on test sessions, before they were filled up")
    for name in ("method", "clean", "from JSON", "asked again", "illegal lines", "filled up"):
        # A heading may be broken in two, a share may not: it would be cut on a narrow terminal.
        width = len("100.0%") if name != "method" else None
        table.add_column(name, justify="right" if width else "left", min_width=width)
    for method, told in report.quality.items():
        first = (told.clean, told.structured, told.repaired)
        counts = (*first, told.illegal_answers, told.backfilled)
        shares = (told.share(count) for count in counts)
        table.add_row(method, *("" if share is None else f"{share:.1%}" for share in shares))
    console.print(table)
    bias = report.position_bias.get("no_hint")
    if bias is not None:
        console.print("Hits without a hint, by the target's place among the candidates shown:")
        for line in bias.lines():
            console.print(f"  {line}", highlight=False)
    notes = sum((Counter(told.notes) for told in report.quality.values()), Counter[str]())
    for note, count in notes.most_common():
        console.print(f"note, {count} times: {note}", markup=False, highlight=False)


def print_usage(report: UsageReport, console: Console) -> None:
    """Print what the calls of all attempts came to; nothing where there was none."""
    if not report.by_node:
        return
    priced = report.total.money is not None or any(
        row.money is not None for row in report.by_node.values()
    )
    table = new_table("Calls to the model, over all attempts of this run")
    table.add_column("for", no_wrap=True)
    names = ["calls", "failed", "retried", "tokens read", "tokens written"]
    for name in [*names, *([report.currency or "money"] if priced else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    for node, row in (*report.by_node.items(), ("total", report.total)):
        counts = (row.calls, row.failures, row.retries, row.input_tokens, row.output_tokens)
        money = "not known" if row.money is None else f"{row.money:,.4f}"
        table.add_row(node, *(f"{count:,}" for count in counts), *([money] if priced else []))
    console.print(table)


def usage_printer(console: Console, *, always: bool) -> Callable[[UsageReport, bool], None]:
    """Return what prints usage when a run is closed.

    Args:
        console: Where to print.
        always: Whether to print even if no call was made now.
    """

    def show(report: UsageReport, made_now: bool) -> None:
        if always or made_now:
            print_usage(report, console)

    return show


def print_report(report: MetricsReport, data: str, console: Console) -> None:
    """Print the methods, their differences and the calls."""
    wide = console.width >= WIDE
    for title, heading, rows, sign in (
        (f"{data}, {report.sessions} test sessions", "method", report.methods, ""),
        ("Paired differences", "difference", report.differences, "+"),
    ):
        table = new_table(f"{title}: mean [95 % interval over sessions]")
        table.add_column(heading, no_wrap=True)
        for metric in METRICS:
            table.add_column(metric, justify="right", no_wrap=True)
        for name, row in rows.items():
            table.add_row(name, *_cells(row, sign, wide))
        console.print(table)
    gain = report.differences.get("policy - no_hint")
    if gain is not None:
        console.print(_verdict(gain["ndcg@10"]))
    calls = ", ".join(f"{name} {count:,}" for name, count in report.llm_calls.items())
    console.print(f"LLM calls: {calls}", highlight=False)


def new_table(title: str) -> Table:
    """A table without columns yet, in the style of all."""
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")


def narrow_table(title: str) -> Table:
    """The same, without what takes room: for tables that have to fit 80 columns."""
    table = new_table(title)
    table.padding = (0, 1, 0, 0)
    table.show_edge = False
    return table


def _cells(row: Mapping[MetricName, Interval], sign: str, wide: bool) -> list[str]:
    cells = []
    for place, metric in enumerate(METRICS):
        value = row[metric]
        cell = f"{value.mean:{sign}.3f}"
        if wide or place == 0:
            cell += f" [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"
        cells.append(cell)
    return cells


def _verdict(gain: Interval) -> str:
    if gain.low > 0:
        return "The policy helps: its gain over no hint is above 0 with its whole interval."
    if gain.high < 0:
        return "The policy harms: its gain over no hint is below 0 with its whole interval."
    return "Not shown to help: the interval of the policy's gain over no hint contains 0."
