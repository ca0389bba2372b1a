"""What a person reads about several hint policies on the same sessions, within 80 columns.

Names of policies and the note are foreign: they are cleaned and printed as ``Text``, never as
markup.
"""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.app.reports.run_report import WIDE, new_table
from agentrec.catalog import clean_text
from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.policy_comparison import ComparedPolicy, PolicyComparison

_LONGEST_NAME = 60
_LONGEST_NOTE = 400
_RESIDUE = 5e-4


def comparison_json(comparison: PolicyComparison) -> str:
    """The comparison as one JSON object, in ASCII alone so that no name can steer a terminal."""
    return json.dumps(comparison.model_dump(mode="json"))


def print_comparison(comparison: PolicyComparison, console: Console, *, note: str = "") -> None:
    """Print a row a policy, and what the numbers mean.

    Below ``WIDE`` columns numbers go without the zero before the point, and NDCG@10 without its
    interval.

    Args:
        comparison: What to tell.
        console: Where.
        note: What else there is to say of all numbers, such as what the negatives are.
    """
    wide = console.width >= WIDE
    level = f"{comparison.level * 100:g} %"
    table = _table(f"Hint policies on {comparison.sessions} sessions: mean [{level} interval]")
    table.add_column("policy", overflow="fold")
    # Headings in two lines: all six columns must stand side by side.
    for name in ("NDCG\n@10", "over\nno hint", "over\nbest single", "sd", "given"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in comparison.policies:
        table.add_row(Text(clean_text(one.name, _LONGEST_NAME)), *_cells(one, wide))
    console.print(table)
    outside = round(1 / (1 - comparison.level))
    _say(
        "Intervals: paired bootstrap over sessions, for the policies as they were trained; each "
        f"by itself: of policies that differ in nothing, 1 of {outside} leaves 0 outside. "
        f"sd: how far the mean gain over no hint spreads over {_seeds(comparison)} seeds, which no "
        "interval holds; none of a policy that is the same with every seed. given: share of "
        "sessions with a hint.",
        console,
    )
    if said := clean_text(note, _LONGEST_NOTE):
        _say(said, console)


def _seeds(comparison: PolicyComparison) -> str:
    """How many seeds there are of what has several."""
    several = sorted({one.seeds for one in comparison.policies if one.seeds > 1})
    return " or ".join(map(str, several)) or "several"


def _cells(one: ComparedPolicy, wide: bool) -> tuple[str, ...]:
    return (
        _told(one.ndcg, wide) if wide else _number(one.ndcg.mean, wide),
        _told(one.over_no_hint, wide, "+"),
        "" if one.over_best_single is None else _told(one.over_best_single, wide, "+"),
        "" if one.seed_spread is None else _number(one.seed_spread, wide),
        f"{one.given:.0%}",
    )


def _told(interval: Interval, wide: bool, sign: str = "") -> str:
    mean, low, high = (
        _number(value, wide, sign) for value in (interval.mean, interval.low, interval.high)
    )
    # Of one session, or of equal values, the interval has width 0 and says nothing.
    if interval.low == interval.high:
        return mean
    return f"{mean} [{low}, {high}]" if wide else f"{mean} [{low},{high}]"


def _number(value: float, wide: bool, sign: str = "") -> str:
    """Three digits, never ``-0.000``; without the zero before the point unless there is room."""
    shown = f"{0.0 if abs(value) < _RESIDUE else value:{sign}.3f}"
    return shown if wide or abs(value) >= 1 else shown.replace("0.", ".", 1)


def _table(title: str) -> Table:
    table = new_table(title)
    table.padding = 0
    table.show_edge = False
    return table


def _say(line: str, console: Console) -> None:
    # As Text, and not as a string, lest ":name:" become a picture.
    console.print(Text(line))
