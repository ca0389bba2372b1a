"""What a person reads about an embedded model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agentrec.app.reports.run_report import new_table
from agentrec.evaluation.intervals import Interval

if TYPE_CHECKING:
    from agentrec.app.learning.embedded_model import ModelReport


def as_json(report: ModelReport) -> str:
    """The report as one JSON object."""
    return json.dumps(
        {
            "examination": asdict(report.examination),
            "metrics": report.metrics.model_dump(mode="json"),
        }
    )


def print_model_report(report: ModelReport, split: str, console: Console) -> None:
    """Print what a model can do."""
    told = report.examination
    table = new_table(f"On {told.prompts} fresh prompts of {told.candidates} candidates")
    table.add_column("measure", overflow="fold")
    table.add_column("value", justify="right")
    for name, value in (
        ("first choice out of all tokens is a candidate", f"{told.candidate_first:.1%}"),
        ("rank correlation with the rule, no hint", f"{told.agreement[0]:.3f}"),
        ("rank correlation with the rule, hint", f"{told.agreement[1]:.3f}"),
        ("same first candidate as the rule", f"{told.same_first:.1%}"),
        (
            "top 10 of the masked ranking named in a list written freely",
            f"{told.written_overlap:.1%}",
        ),
        ("distinct entries in such a list", f"{told.written_distinct:.1%}"),
    ):
        table.add_row(name, value)
    console.print(table)
    hints = new_table("Hints: rank correlation with how much candidates have of what is asked for")
    hints.add_column("prefer ...", overflow="fold")
    hints.add_column("the model", justify="right")
    hints.add_column("the rule", justify="right")
    for grade in told.hints:
        hints.add_row(Text(grade.phrase), f"{grade.with_property:.2f}", f"{grade.rule:.2f}")
    console.print(hints)
    metrics = new_table(f"{report.metrics.sessions} {split} sessions, without a hint")
    metrics.add_column("method")
    metrics.add_column("NDCG@10", justify="right")
    for name, measured in report.metrics.methods.items():
        metrics.add_row(name, _interval(measured["ndcg@10"]))
    for name, measured in report.metrics.differences.items():
        metrics.add_row(name, _interval(measured["ndcg@10"], sign="+"))
    console.print(metrics)


def _interval(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"
