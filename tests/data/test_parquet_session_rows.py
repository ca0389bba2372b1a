from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow
import pytest
from data.session_row_files import CATALOG, parquet_file, rejected, sessions

from agentrec.data import SessionRow, read_session_rows
from agentrec.errors import InputError
from agentrec.sessions import Session


def test_parquet_gives_the_same_sessions(tmp_path: Path) -> None:
    texts = pyarrow.array(["s", "t"])
    file = parquet_file(
        tmp_path,
        session_id=pyarrow.array([1, 2]),
        items=pyarrow.array([[7], [8, 7]], pyarrow.large_list(pyarrow.int32())),
        candidates=pyarrow.array([["7", "8"], ["7", "a"]]),
        target=pyarrow.nulls(2),
        user_id=texts.dictionary_encode(),
        note=pyarrow.array([1.5, None]),
    )
    rows = list(read_session_rows(file, CATALOG))
    assert [(one.index, one.line) for one in rows] == [(0, None), (1, None)]
    assert sessions(rows) == [
        Session(session_id="1", items=("7",), candidates=("7", "8"), user_id="s"),
        Session(session_id="2", items=("8", "7"), candidates=("7", "a"), user_id="t"),
    ]


def test_a_bad_parquet_row_affects_no_other_row(tmp_path: Path) -> None:
    latin = pyarrow.array([b"s0", b"caf\xe9", *(b"s%d" % n for n in range(2, 8))])
    file = parquet_file(
        tmp_path,
        session_id=latin.view(pyarrow.string()),
        items=[["a"], ["a"], None, ["a", None], ["?"], ["a"] * 30_000, ["a"] * 10_001, ["a"]],
        candidates=[["c", "d"]] * 7 + [["c", "d"] * 5000],
    )
    rows = list(read_session_rows(file, CATALOG))
    assert [one.index for one in rows] == list(range(8))
    assert [getattr(one, "reason", None) for one in rows] == [
        None,
        "wrong_encoding",
        "missing_field",
        "wrong_type",
        "unknown_item",
        "too_many",
        "too_many",
        None,
    ]
    bad = [rejected([one]) for one in rows[1:7]]
    assert [one.session_id for one in bad] == [None, "s2", "s3", "s4", "s5", "s6"]
    assert bad[0].problem == "field 'session_id': holds text that is not UTF-8"
    assert bad[4].problem == "field 'items': holds 30,000 ids; at most 10,000 are allowed"
    assert bad[3].raw == '{"session_id": "s4", "items": ["?"], "candidates": ["c", "d"]}'


def test_large_rows_of_a_parquet_file_come_a_few_at_a_time(tmp_path: Path) -> None:
    ids = [["a", "b", "c", "d"] * 2000] * 300
    file = parquet_file(tmp_path, session_id=list(range(300)), items=ids, candidates=ids)
    tracemalloc.start()
    assert sum(isinstance(one, SessionRow) for one in read_session_rows(file, CATALOG)) == 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All of them at once would be 4.8 million texts.
    assert peak < 10 << 20


def test_a_truncated_parquet_file_is_reported(tmp_path: Path) -> None:
    ids = [["a"]] * 5000
    file = parquet_file(
        tmp_path,
        session_id=[f"s{n}" for n in range(5000)],
        items=ids,
        candidates=[["c", "d"]] * 5000,
    )
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(InputError, match="is not a whole Parquet file") as caught:
        read_session_rows(file, CATALOG)
    assert "\n" not in str(caught.value)
    file.write_bytes(whole[:60] + b"\xff" * 400 + whole[460:])
    with pytest.raises(InputError, match="is not a whole Parquet file"):
        list(read_session_rows(file, CATALOG))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "lacks the columns items, candidates"),
        ({"items": [["a"]], "candidates": ["c"]}, "field 'candidates': must hold lists of texts"),
        ({"items": [[1.5]], "candidates": [["c"]]}, "field 'items': must hold lists of texts"),
        ({"items": [["a"]], "candidates": [["c"]], "user_id": [True]}, "field 'user_id': must"),
    ],
)
def test_columns_of_another_type_are_refused_at_once(
    tmp_path: Path, columns: dict[str, object], problem: str
) -> None:
    file = parquet_file(tmp_path, session_id=["s"], **columns)
    with pytest.raises(InputError) as caught:
        read_session_rows(file, CATALOG)
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)
