"""Reports as data: lines and tables that one renderer shows, and results as JSON.

Titles, hints, ids and names are foreign text. The renderer cleans every cell and every line and
prints it as ``Text``, never as markup, so no report has to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import to_jsonable_python
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from agentrec.catalog import clean_text
from agentrec.evaluation.intervals import Interval

WIDE = 110
"""Terminals with at least this many columns show every interval."""

GAIN = "+z.3f"
"""Format of differences: three digits with a sign, never ``-0.000``."""

_MAX_LINE = 2_000

Cell = str | float | Interval | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: The heading; may hold a line break.
        format: Format specification of its numbers, such as ``.3f``. With one, cells stay on one
            line and are aligned to the right, or to the left if it is ``<``. Without one, cells
            are text that may be wrapped.
        max_length: Most characters of a text.
        wide_interval: Whether narrow terminals show only the mean of an interval.
    """

    title: str
    format: str = ""
    max_length: int = 400
    wide_interval: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a title above and notes below.

    Attributes:
        title: One line.
        columns: A column in which every cell is ``None`` is not shown.
        rows: One cell per column: text, a number, an interval, or ``None`` for an empty cell.
        notes: What the numbers mean, one paragraph each.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


Report = Iterable[str | Table]
"""What a command reports: paragraphs and tables, in order."""


def show(report: Report, console: Console) -> None:
    """Print a report. Words, such as paths, are never broken."""
    for number, block in enumerate(report):
        if isinstance(block, str):
            _show_line(block, console)
            continue
        if number:
            console.print()
        _show_line(block.title, console, style="bold")
        if block.rows:
            console.print(_rich_table(block, wide=console.width >= WIDE))
        for note in block.notes:
            _show_line(note, console)


def print_result(result: object, report: Report, *, as_json: bool) -> None:
    """Print the result of a command on standard output, as one line of JSON or as its report."""
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        show(report, Console())


def to_json(result: object) -> str:
    """Return dataclasses, models and containers as JSON; numbers that are not finite are null.

    The text is ASCII only, so that no hint can control a terminal.
    """
    return json.dumps(to_jsonable_python(result, inf_nan_mode="null"))


def format_interval(interval: Interval, spec: str) -> str:
    """Return the mean and the ends of an interval, each formatted as ``spec`` says."""
    mean, low, high = (format(end, spec) for end in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def _show_line(line: str, console: Console, style: str = "") -> None:
    text = clean_text(line, _MAX_LINE)
    # A path that is broken cannot be copied.
    width = max(console.width, *map(cell_len, text.split(" ")))
    for part in Text(text, style).wrap(console, width):
        part.rstrip()
        console.print(part, soft_wrap=True)


def _rich_table(table: Table, *, wide: bool) -> RichTable:
    shown = [
        index
        for index in range(len(table.columns))
        if any(row[index] is not None for row in table.rows)
    ]
    columns = [table.columns[index] for index in shown]
    drawn = RichTable(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        show_header=any(column.title for column in columns),
        padding=(0, 1, 0, 0) if wide else 0,
    )
    for column in columns:
        drawn.add_column(
            Text(column.title),
            justify="right" if column.format not in ("", "<") else "left",
            no_wrap=bool(column.format),
            overflow="fold",
        )
    for row in table.rows:
        cells = (row[index] for index in shown)
        drawn.add_row(*(Text(_text(*each, wide)) for each in zip(cells, columns, strict=True)))
    return drawn


def _text(cell: Cell, column: Column, wide: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return clean_text(cell, column.max_length)
    if not isinstance(cell, Interval):
        return format(cell, column.format)
    # An interval of width 0, as of one session, says nothing.
    if cell.low == cell.high or (column.wide_interval and not wide):
        return format(cell.mean, column.format)
    text = format_interval(cell, column.format)
    return text if wide else text.replace(", ", ",")
