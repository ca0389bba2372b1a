"""The one renderer of all reports: what it may be given, and what it prints."""

import io
import json
from dataclasses import dataclass

import pytest
from rich.cells import cell_len
from rich.console import Console

from agentrec.app.reports.tables import (
    GAIN,
    WIDE,
    Cell,
    Column,
    Report,
    Table,
    print_result,
    show,
    to_json,
)
from agentrec.evaluation.intervals import Interval

HOSTILE = "[bold]x[/bold] [/] \x1b[31m\x07\r\n\u202e:smile: 電影 {0} %s \ud800"


def shown(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def row_of(*cells: Cell, columns: tuple[Column, ...], width: int = 80) -> str:
    last = shown([Table("t", columns, (cells,))], width).splitlines()[-1]
    return " ".join(last.split())


@pytest.mark.parametrize("width", [80, WIDE])
def test_foreign_text_is_shown_as_it_is_and_fits(width: int) -> None:
    columns = (Column("a", GAIN), Column("hint"), Column("b"))
    table = Table(HOSTILE, columns, ((-0.5, HOSTILE * 9, HOSTILE),), (HOSTILE * 9,))
    text = shown([HOSTILE * 9, table], width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert not {"\x1b", "\x07", "\r", "\u202e", "\ud800"} & set(text)
    assert text.count("[bold]x") >= 20
    assert text.count(":smile:") >= 20
    assert "電影" in text


def test_numbers_and_intervals_follow_the_format_of_their_column() -> None:
    columns = (Column("n", ","), Column("gain", GAIN), Column("share", ".0%"), Column("w", ">"))
    row = row_of(12345, Interval(mean=0.1, low=-0.0001, high=0.25), 0.5, "1/2", columns=columns)
    assert row == "12,345 +0.100 [+0.000,+0.250] 50% 1/2"
    assert row_of(-0.0, columns=(Column("gain", GAIN),)) == "+0.000"


def test_an_interval_of_width_0_is_shown_as_its_mean() -> None:
    assert row_of(Interval(mean=1, low=1, high=1), columns=(Column("gain", GAIN),)) == "+1.000"


def test_wide_terminals_show_every_interval() -> None:
    interval = Interval(mean=0.5, low=0.25, high=0.75)
    columns = (Column("a", ".2f"), Column("b", ".2f", wide_interval=True))
    assert row_of(interval, interval, columns=columns) == "0.50 [0.25,0.75] 0.50"
    assert row_of(interval, interval, columns=columns, width=WIDE).count("[0.25, 0.75]") == 2


def test_empty_columns_and_headings_are_left_out() -> None:
    columns = (Column("known"), Column("unknown"))
    assert "unknown" not in shown([Table("t", columns, (("a", None), ("b", None)))])
    assert shown([Table("title", (Column(""),), (("a",),))]).split() == ["title", "a"]
    assert shown([Table("title", columns, (), ("note",))]).split() == ["title", "note"]


def test_long_words_such_as_paths_stay_whole() -> None:
    path = "/runs/" + "deep/" * 40
    assert path in shown([f"Everything of this run is in {path}"])


@dataclass(frozen=True)
class Found:
    text: str
    interval: Interval
    scores: tuple[float, ...]


def test_results_are_one_line_of_ascii_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found(HOSTILE, Interval(mean=0, low=0, high=0), (1.0, float("-inf"), float("nan")))
    print_result(found, ["not printed"], as_json=True)
    text = capsys.readouterr().out
    assert text == to_json(found) + "\n"
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {
        "text": HOSTILE,
        "interval": {"mean": 0, "low": 0, "high": 0},
        "scores": [1.0, None, None],
    }
    print_result(found, ["printed"], as_json=False)
    assert capsys.readouterr().out == "printed\n"
