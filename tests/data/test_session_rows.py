from __future__ import annotations

import csv
import gc
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from data.session_row_files import (
    CATALOG,
    GOOD,
    csv_file,
    lines_file,
    parquet_file,
    rejected,
    row,
    sessions,
)

from agentrec.data import RejectedRow, RowLimits, SessionRow, read_session_rows
from agentrec.data.records import RowError
from agentrec.data.session_records import RawRow
from agentrec.errors import InputError
from agentrec.sessions import Session


def _open_files() -> list[Path]:
    """The files that this process has open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("only Linux tells which files are open")
    found = []
    for one in descriptors.iterdir():
        with suppress(OSError):
            found.append(one.readlink())
    return found


def test_bad_rows_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    file = lines_file(
        tmp_path,
        b"\xef\xbb\xbf" + json.dumps(row(target="c", user_id=3, mood="x")).encode() + b"\r",
        "",
        "{",
        b'{"session_id": "\xe9"}',
        "  ",
        row(session_id=7, items=[7], candidates=[7, "8", 7], target=None),
    )
    rows = list(read_session_rows(file, CATALOG))
    assert [(one.index, one.line) for one in rows] == [(0, 1), (1, 3), (2, 4), (3, 6)]
    assert [getattr(one, "reason", None) for one in rows] == [
        None,
        "not_json",
        "wrong_encoding",
        None,
    ]
    first, last = sessions([rows[0], rows[3]])
    assert first == Session(**row(target="c", user_id="3"))  # type: ignore[arg-type]
    assert (last.session_id, last.items, last.candidates) == ("7", ("7",), ("7", "8"))
    assert (last.target, last.user_id) == (None, None)


@pytest.mark.parametrize(
    ("line", "reason", "problem", "session_id"),
    [
        ("[" * 100_000, "not_json", "nested too deeply", None),
        ('{"session_id": "s", "items": NaN}', "not_json", "NaN is not a JSON number", None),
        ("9" * 5000, "not_json", "is not usable JSON", None),
        ("\0\0", "not_json", "not valid JSON", None),
        ('["s"]', "not_an_object", "not a JSON object", None),
        (b"\xff\xfe{\0}\0", "wrong_encoding", "byte 1 of the line is not UTF-8", None),
        (row(session_id=...), "missing_field", "field 'session_id': is missing", None),
        (row(session_id=None), "missing_field", "field 'session_id': is null", None),
        (row(session_id=True), "wrong_type", "not true or false", None),
        (row(session_id=1.0), "wrong_type", "not a number with a fraction", None),
        (row(session_id=""), "empty", "field 'session_id': an id must not be empty", None),
        (row(session_id="\ud800"), "bad_text", "field 'session_id': holds half", None),
        (row(session_id="a\0"), "bad_text", "field 'session_id': holds a NUL", None),
        (row(session_id="s" * 513), "too_long", "longer than 512 characters", None),
        (row(user_id="u" * 513), "too_long", "field 'user_id': is longer", "s"),
        (row(user_id=[]), "wrong_type", "field 'user_id': an id must be", "s"),
        (row(items=...), "missing_field", "field 'items': is missing", "s"),
        (row(items="a"), "wrong_type", "field 'items': must be a list of ids", "s"),
        (row(items=[]), "empty", "field 'items': is empty", "s"),
        (row(items=["a", None]), "wrong_type", "field 'items': an id must be", "s"),
        (row(items=["a", ["b"]]), "wrong_type", "field 'items': an id must be", "s"),
        (row(items=["a", True]), "wrong_type", "not true or false", "s"),
        (row(items=["a", "?", "!"]), "unknown_item", "field 'items': '?' is not an", "s"),
        (row(items=["a\n" * 5000]), "unknown_item", "field 'items': 'a\\na\\n", "s"),
        (row(items=["a"] * 10_001), "too_many", "holds 10,001 ids; at most 10,000", "s"),
        (row(candidates=...), "missing_field", "field 'candidates': is missing", "s"),
        (row(candidates=["c", 9]), "unknown_item", "field 'candidates': '9' is not", "s"),
        (row(candidates=["c", "c"]), "too_few_candidates", "fewer than 2 different", "s"),
        (row(candidates=[]), "too_few_candidates", "fewer than 2 different", "s"),
        (row(candidates=["c", "d"] * 5001), "too_many", "field 'candidates': holds 10,002", "s"),
        (row(target="a"), "target_not_offered", "field 'candidates': lacks the target 'a'", "s"),
        (row(target="?"), "unknown_item", "field 'target': '?' is not an item_id", "s"),
    ],
)
def test_the_reason_of_a_rejection_is_reported(
    tmp_path: Path, line: object, reason: str, problem: str, session_id: str | None
) -> None:
    only = rejected(list(read_session_rows(lines_file(tmp_path, line), CATALOG)))
    assert (only.index, only.line, only.session_id) == (0, 1, session_id)
    assert only.reason == reason
    assert problem in only.problem
    assert len(only.problem) < 200


def test_the_excerpt_of_a_rejected_row_escapes_hidden_characters(tmp_path: Path) -> None:
    line = b'{"\x1b[2J\x00 \xc3\xa9 \xe2\x80\xae \xff' + b"x" * 1000
    only = rejected(list(read_session_rows(lines_file(tmp_path, line), CATALOG)))
    assert only.raw.startswith('{"\\x1b[2J\\x00 é \\u202e \\xffxxx')
    assert only.raw.endswith("x…")
    assert len(only.raw) == 500


def test_limits_can_be_set(tmp_path: Path) -> None:
    fine, long = row(), row(session_id="longer")
    most = len(json.dumps(fine))
    file = lines_file(tmp_path, json.dumps(fine) + "\r", long, fine)
    rows = list(read_session_rows(file, CATALOG, limits=RowLimits(line_bytes=most)))
    assert [getattr(one, "reason", None) for one in rows] == [None, "too_long", None]
    assert [one.line for one in rows] == [1, 2, 3]
    for limits in (RowLimits(items=1), RowLimits(id_characters=5)):
        rows = list(read_session_rows(lines_file(tmp_path, long), CATALOG, limits=limits))
        assert rejected(rows).reason in {"too_many", "too_long"}
    for name, value in (("line_bytes", 0), ("id_characters", 0), ("items", 0), ("candidates", 1)):
        with pytest.raises(ValueError, match=name):
            RowLimits(**{name: value})


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("name", ["sessions.jsonl", "sessions.csv"])
def test_a_line_of_many_megabytes_is_never_in_memory(tmp_path: Path, name: str, end: bytes) -> None:
    file = tmp_path / name
    with file.open("wb") as stream:
        if name.endswith("csv"):
            stream.write(b"session_id,items,candidates\n")
        for _ in range(50):
            stream.write(b'"' * (1 << 20))
        stream.write(end)
        if end:
            good = b"s,a|b,c|d\n" if name.endswith("csv") else json.dumps(GOOD).encode()
            stream.write(good)
    tracemalloc.start()
    rows = list(read_session_rows(file, CATALOG))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(rows[0], RejectedRow)
    assert rows[0].reason == "too_long"
    assert len(sessions(rows[1:])) == (1 if end else 0)
    assert peak < 6 << 20


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    file = lines_file(tmp_path, *[json.dumps(GOOD)] * 20_000)
    rows = read_session_rows(file, CATALOG)
    next(rows)
    tracemalloc.start()
    assert sum(1 for _ in rows) == 19_999
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_csv_gives_the_same_sessions(tmp_path: Path) -> None:
    file = tmp_path / "sessions.CSV"
    with file.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.writer(stream)
        writer.writerow(["note", " items ", "session_id", "candidates", "target", "user_id"])
        writer.writerow(["a, b", "a|b", "007", '["c", "x|y"]', "", ""])
        writer.writerow(["", "7", "t", "[7, 8]", "8", "ann"])
        stream.write("\r\n")
    assert sessions(list(read_session_rows(file, CATALOG))) == [
        Session(session_id="007", items=("a", "b"), candidates=("c", "x|y")),
        Session(session_id="t", items=("7",), candidates=("7", "8"), target="8", user_id="ann"),
    ]


@pytest.mark.parametrize(
    ("line", "reason", "problem", "session_id"),
    [
        (b"s,a,c|\xff", "wrong_encoding", "byte 7 of the line is not UTF-8", None),
        ("s,a", "wrong_columns", "has 2 fields, and the header names 3", None),
        ("s,a,c|d,", "wrong_columns", "has 4 fields, and the header names 3", None),
        ('s,"a,c|d', "not_csv", "a quoted field ends on its line", None),
        ('s,"a"b,c|d', "not_csv", "not one line of CSV", None),
        ("s,a\rb,c|d", "not_csv", "not one line of CSV", None),
        (",a,c|d", "missing_field", "field 'session_id': is missing", None),
        ("s,,c|d", "missing_field", "field 'items': is missing", "s"),
        ("s,[],c|d", "empty", "field 'items': is empty", "s"),
        ("s,a|,c|d", "empty", "field 'items': an id must not be empty", "s"),
        ("s,a,c| d", "unknown_item", "field 'candidates': ' d' is not an item_id", "s"),
        ("s,a,\"['c', 'd']\"", "not_json", 'a list is ["a", "b"] or a|b', "s"),
        ("s,a,[NaN]", "not_json", "field 'candidates': is not usable JSON", "s"),
        ("s,a,[true]", "wrong_type", "not true or false", "s"),
        ("s\0,a,c|d", "bad_text", "field 'session_id': holds a NUL", None),
        ("s," + "a|" * 10_000 + "a,c|d", "too_many", "holds 10,001 ids", "s"),
        ("s," + "a" * 200_000 + ",c|d", "unknown_item", "field 'items'", "s"),
        ("s," + "a" * 2_000_000 + ",c|d", "too_long", "longer than 1,048,576 bytes", None),
    ],
)
def test_a_bad_csv_row_affects_no_other_row(
    tmp_path: Path, line: str | bytes, reason: str, problem: str, session_id: str | None
) -> None:
    file = csv_file(tmp_path, "s,a,c|d", line, "s,a,c|d")
    before, bad, after = read_session_rows(file, CATALOG)
    assert len(sessions([before, after])) == 2
    only = rejected([bad])
    assert (only.index, only.line, only.reason) == (1, 3, reason)
    assert only.session_id == session_id
    assert problem in only.problem


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("sessions.txt", b"x", "give a file named .jsonl, .ndjson, .csv or .parquet"),
        ("sessions.jsonl", None, "is missing"),
        ("sessions.jsonl", b"", "is empty"),
        ("sessions.csv", b"", "is empty"),
        ("sessions.parquet", b"", "is empty"),
        ("sessions.parquet", b"PAR1 not", "is not a whole Parquet file"),
        ("sessions.csv", b"\n \n", "the header lacks session_id, items, candidates"),
        ("sessions.csv", b"session_id;items\n", "the header lacks session_id, items, candidates"),
        ("sessions.csv", b"session_id,items\ns,a\n", "the header lacks candidates"),
        ("sessions.csv", b"session_id,items,items,candidates\n", "two columns have this name"),
        ("sessions.csv", b"session_id,\xff\n", "not UTF-8"),
        ("sessions.csv", b"x" * (2 << 20), "too long for a header"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_at_once(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_session_rows(file, CATALOG)
    assert caught.value.file == file
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_anything_but_a_plain_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_session_rows(folder, CATALOG)


@pytest.mark.parametrize(
    ("name", "content"),
    [("sessions.ndjson", b"\xef\xbb\xbf\n \n"), ("sessions.csv", b"session_id,items,candidates\n")],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="holds no rows"):
        list(read_session_rows(tmp_path / name, CATALOG))


@pytest.mark.parametrize("take", [0, 1])
def test_closing_early_leaves_no_file_open(tmp_path: Path, take: int) -> None:
    for file in (
        lines_file(tmp_path, GOOD, GOOD),
        csv_file(tmp_path, "s,a,c|d", "s,a,c|d"),
        parquet_file(tmp_path, session_id=["s"] * 2, items=[["a"]] * 2, candidates=[["c"]] * 2),
    ):
        rows = read_session_rows(file, CATALOG)
        assert [next(rows).index for _ in range(take)] == list(range(take))
        assert file in _open_files()
        rows.close()
        assert file not in _open_files()


def test_a_rejected_row_is_freed_at_once(tmp_path: Path) -> None:
    files = [
        lines_file(
            tmp_path,
            "{",
            b"\xff",
            "[]",
            row(session_id="\ud800"),
            row(items=["nobody"]),
            row(candidates=["c"]),
            row(items=...),
            row(),
        ),
        csv_file(tmp_path, b"\xff", "a,b", 's,"a', 's,"[""a"",",c|d', "s,nobody,c|d", "s,a,c|d"),
    ]

    def held() -> int:
        # isinstance() would look into objects that only pretend to be there.
        return sum(type(each) in (RowError, RawRow) for each in gc.get_objects())

    gc.collect()
    before = held()
    gc.disable()
    try:
        for file in files:
            *spoilt, sound = list(read_session_rows(file, CATALOG))
            assert all(isinstance(one, RejectedRow) for one in spoilt)
            assert isinstance(sound, SessionRow)
        assert held() == before
    finally:
        gc.enable()
