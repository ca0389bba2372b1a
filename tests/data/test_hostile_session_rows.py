"""Whatever bytes a file holds, reading it gives every row once and raises nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from agentrec.catalog import Catalog, Item
from agentrec.data import RejectedRow, RowLimits, SessionRow, read_session_rows
from agentrec.errors import InputError

CATALOG = Catalog(Item(item_id=i, title=i) for i in ("a", "b", "c", "7"))
HEADER = b"session_id,items,candidates,target\n"
LIMITS = RowLimits(line_bytes=60, id_characters=5, items=3, candidates=4)

PIECES = [
    *(b'"', b",", b"|", b"[", b"]", b"{", b"}", b":", b"\\", b"\n", b"\r\n", b"\r", b" ", b"\0"),
    *(b"a", b"b", b"7", b"NaN", b"null", b"true", b"1e999", b"\\ud800", b"\xff", b"\xe2\x80\xa8"),
    *(b'"session_id"', b'"items"', b'"candidates"', b'["a","b"]', b'{"session_id":"s",'),
    *(b"s,a|b,a|c,a\n", b's,"[""a""]",a|b,\n', b"\xef\xbb\xbf", b"x" * 70),
    b'{"session_id":7,"items":["a"],"candidates":["b",7]}\n',
]
NOISE = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES)).map(b"".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
IDS = st.lists(st.sampled_from(["a", "b", "c", 7]), max_size=5)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "session_id": st.just("s") | VALUES,
        "items": IDS | VALUES,
        "candidates": IDS | VALUES,
        "target": st.just("a") | VALUES,
        "user_id": VALUES,
    },
)
fuzzed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read(file: Path, limits: RowLimits = LIMITS) -> list[SessionRow | RejectedRow]:
    """Read what can be read, and check what holds for every row."""
    rows: list[SessionRow | RejectedRow] = []
    problem = ""
    try:
        for row in read_session_rows(file, CATALOG, limits=limits):
            rows.append(row)
    except InputError as error:
        problem = str(error)
    assert problem.isprintable()
    assert [row.index for row in rows] == list(range(len(rows)))
    for row in rows:
        if isinstance(row, SessionRow):
            ids = {*row.session.items, *row.session.candidates}
            assert ids <= CATALOG.keys()
            assert len(row.session.candidates) > 1
        else:
            assert row.problem.isprintable()
            assert row.raw.isprintable()
            assert len(row.raw) <= 500
    return rows


def filled(content: bytes) -> list[int]:
    """1-based numbers of the lines that are not blank."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [number for number, line in enumerate(lines, 1) if line.strip()]


@fuzzed
@given(NOISE)
def test_any_bytes_as_json_lines(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_bytes(content)
    assert [row.line for row in read(file)] == filled(content)


@fuzzed
@given(NOISE)
def test_any_bytes_as_csv(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sessions.csv"
    file.write_bytes(content)
    read(file)
    file.write_bytes(HEADER + content)
    kept = HEADER + content.replace(b"\xef\xbb\xbf", b"x")
    assert [row.line for row in read(file)] == [line for line in filled(kept) if line > 1]


@fuzzed
@given(st.lists(RECORDS, max_size=5))
def test_any_values_as_json_lines(tmp_path: Path, records: list[dict[str, object]]) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert len(read(file, RowLimits())) == len(records)


@settings(fuzzed, max_examples=100)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=20), st.booleans())
def test_a_damaged_parquet_file(tmp_path: Path, at: int, put: bytes, cut: bool) -> None:
    file = tmp_path / "sessions.parquet"
    table = pyarrow.table(
        {"session_id": ["s", "t"], "items": [["a"], ["b"]], "candidates": [["a", "b"]] * 2}
    )
    parquet.write_table(table, file, write_page_checksum=True)
    whole = file.read_bytes()
    at %= len(whole)
    file.write_bytes(whole[:at] + put + (b"" if cut else whole[at + len(put) :]))
    read(file)


def test_a_line_of_spaces_beyond_the_limit_is_a_row_too_long(tmp_path: Path) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_bytes(b" " * 61 + b"\n" + b" " * 60 + b"\n")
    (only,) = read(file)
    assert isinstance(only, RejectedRow)
    assert (only.line, only.reason) == (1, "too_long")


@pytest.mark.parametrize("size", range(55, 72))
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_the_limit_of_a_line_counts_neither_its_end_nor_a_mark(
    tmp_path: Path, size: int, end: bytes, mark: bytes
) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_bytes(mark + b"x" * size + end + b"\n\ny\n")
    first, last = read(file)
    assert isinstance(first, RejectedRow)
    assert (first.reason == "too_long") == (size > 60)
    assert isinstance(last, RejectedRow)
    assert (last.raw, last.reason) == ("y", "not_json")
