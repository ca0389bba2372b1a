from __future__ import annotations

from pathlib import Path

import pytest
from data.session_row_files import CATALOG, GOOD, csv_file, lines_file, parquet_file, row

from agentrec.catalog import Item
from agentrec.data import RejectedRow, load_catalog, read_sessions
from agentrec.errors import InputError
from agentrec.sessions import Session

BARE = Session(session_id="s", items=("a", "new"))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_any_ids_are_accepted_without_a_catalogue_and_candidates_are_optional(
    tmp_path: Path, kind: str
) -> None:
    file = {
        "jsonl": lambda: lines_file(tmp_path, {"session_id": "s", "items": ["a", "new"]}),
        "csv": lambda: csv_file(tmp_path, "s,a|new", header="session_id,items"),
        "parquet": lambda: parquet_file(tmp_path, session_id=["s"], items=[["a", "new"]]),
    }[kind]()
    assert list(read_sessions(file)) == [BARE]
    with pytest.raises(InputError, match="'new' is not an item_id in the catalogue"):
        list(read_sessions(str(file), CATALOG))


def test_columns_without_a_value_are_as_if_missing(tmp_path: Path) -> None:
    columns = {"session_id": ["s"], "items": [["a", "new"]], "candidates": [None]}
    assert list(read_sessions(parquet_file(tmp_path, **columns))) == [BARE]
    header = "session_id,items,candidates,target,user_id"
    assert list(read_sessions(csv_file(tmp_path, "s,a|new,,,", header=header))) == [BARE]


def test_a_bad_row_is_named_with_its_line(tmp_path: Path) -> None:
    file = lines_file(tmp_path, GOOD, row(items=[]))
    sessions = read_sessions(file)
    assert next(sessions).candidates == ("c", "d")
    with pytest.raises(InputError, match=r"jsonl:2: field 'items': is empty"):
        next(sessions)
    file = parquet_file(tmp_path, session_id=["s", "t"], items=[["a"], []])
    with pytest.raises(InputError, match=r"parquet: row 2: field 'items': is empty"):
        list(read_sessions(file))


def test_bad_rows_can_be_skipped(tmp_path: Path) -> None:
    skipped: list[RejectedRow] = []
    file = lines_file(tmp_path, "{", GOOD, row(candidates=["c"]))
    assert len(list(read_sessions(file, CATALOG, on_rejected=skipped.append))) == 1
    assert [(each.line, each.reason) for each in skipped] == [
        (1, "not_json"),
        (3, "too_few_candidates"),
    ]


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_sessions(tmp_path / "sessions.jsonl")


def test_a_catalogue_is_loaded_from_a_file_a_folder_or_items(tmp_path: Path) -> None:
    lines_file(tmp_path, {"item_id": 1, "title": "One", "year": 1999}, name="items.jsonl")
    for source in (tmp_path, tmp_path / "items.jsonl", str(tmp_path)):
        assert load_catalog(source)["1"].attributes == {"year": 1999}
    assert list(load_catalog(iter([Item(item_id="a", title="A")]))) == ["a"]
    assert load_catalog(CATALOG) is CATALOG
    with pytest.raises(InputError, match="is missing"):
        load_catalog(tmp_path / "nothing.jsonl")
    with pytest.raises(ValueError, match="at least one item"):
        load_catalog([])
