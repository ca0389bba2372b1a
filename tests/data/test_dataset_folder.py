from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentrec.data import load_folder, read_folder
from agentrec.data.dataset import SplitName
from agentrec.data.dataset_folder import fill_missing_splits
from agentrec.errors import InputError
from agentrec.sessions import Session

WriteFolder = Callable[..., Path]

ITEM = {"item_id": "a", "title": "Alien"}
OTHERS = [{"item_id": i, "title": i} for i in "bcd"]
SESSION = {"session_id": "s", "items": ["a", "b"], "target": "c", "candidates": ["c", "d"]}


def session(**changes: object) -> dict[str, object]:
    """Give a sound session with some fields changed, or left out where they are ``...``."""
    return {k: v for k, v in {**SESSION, **changes}.items() if v is not ...}


def item(**changes: object) -> dict[str, object]:
    return {k: v for k, v in {**ITEM, **changes}.items() if v is not ...}


def test_a_folder_is_read_as_it_is(make_folder: WriteFolder) -> None:
    dataset = read_folder(make_folder())
    assert dataset.name == "shop"
    assert [len(sessions) for _, sessions in dataset.splits()] == [8, 2, 2]
    assert dataset.notes == ()
    first = dataset.train[0]
    assert (first.session_id, first.items, first.target) == ("train-0", ("a", "b"), "c")
    assert first.candidates == ("c", "d")
    assert dataset.catalog["a"].title == "Alien"
    assert dict(dataset.catalog["a"].attributes) == {"year": 1979, "genres": ("Horror", "Sci-Fi")}
    assert dict(dataset.catalog["b"].attributes) == {"score": 7.5}
    assert dataset.catalog.item_ids == ("a", "b", "c", "d")


def test_candidates_are_drawn_where_there_are_none(make_folder: WriteFolder) -> None:
    folder = make_folder(test=[session(candidates=...), session(session_id="t", candidates=None)])
    assert [s.candidates for s in read_folder(folder).test] == [(), ()]
    dataset = load_folder(folder, negatives="uniform", seed=3)
    assert [set(s.candidates) for s in dataset.test] == [{"c", "d"}] * 2
    assert dataset.train == read_folder(folder).train


def test_whole_numbers_are_ids_too(make_folder: WriteFolder) -> None:
    dataset = read_folder(
        make_folder(
            items=[{"item_id": 7, "title": "x"}, {"item_id": "8", "title": "y"}],
            train=[{"session_id": n, "items": [7], "target": 8} for n in range(4)],
            valid=None,
            test=None,
        )
    )
    assert (dataset.train[0].session_id, dataset.train[0].items) == ("0", ("7",))


def test_sessions_may_have_users(make_folder: WriteFolder) -> None:
    given = ["ann", 7, None, ...]
    lines = [session(session_id=n, user_id=user) for n, user in enumerate(given)]
    drawn = [{**line, "session_id": f"d{n}", "candidates": None} for n, line in enumerate(lines)]
    dataset = load_folder(make_folder(valid=lines, test=drawn))
    for split in (dataset.valid, dataset.test):
        assert [one.user_id for one in split] == ["ann", "7", None, None]
    assert dataset.notes == ()


def test_attributes_that_are_null_are_dropped(make_folder: WriteFolder) -> None:
    dataset = read_folder(make_folder(items=[item(year=None, tags=[]), *OTHERS]))
    assert dict(dataset.catalog["a"].attributes) == {"tags": ()}


def test_blank_lines_windows_ends_and_a_byte_order_mark_do_no_harm(
    make_folder: WriteFolder,
) -> None:
    lines = [b"\xef\xbb\xbf" + json.dumps(ITEM).encode() + b"\r", "", *OTHERS, "  "]
    assert read_folder(make_folder(items=lines)).catalog.item_ids == tuple("abcd")


def test_a_line_separator_inside_a_title_is_no_line_end(make_folder: WriteFolder) -> None:
    dataset = read_folder(make_folder(items=['{"item_id": "a", "title": "A\u2028B"}', *OTHERS]))
    assert dataset.catalog["a"].title == "A B"


def test_corrections_are_noted(make_folder: WriteFolder) -> None:
    dataset = read_folder(
        make_folder(
            valid=[
                session(candidates=["c", "d", "c"], mood="x"),
                session(session_id="t", items=["c", "a"]),
            ],
            test=None,
        )
    )
    assert dataset.valid[0].candidates == ("c", "d")
    assert dataset.notes == (
        "1 of the 2 sessions in sessions.valid.jsonl repeat a candidate: repetitions dropped",
        "1 of the 2 sessions in sessions.valid.jsonl have their target among items: kept",
        "sessions.valid.jsonl: ignored the fields mood",
        "no sessions.test.jsonl: cut 1 of the 2 sessions from the end of valid",
    )


def test_long_histories_stay_whole(make_folder: WriteFolder) -> None:
    folder = make_folder(test=[session(items=["a", "b"] * 50)])
    assert len(read_folder(folder).test[0].items) == 100


@pytest.mark.parametrize(
    ("lines", "line", "field", "problem"),
    [
        ([], None, None, "is empty"),
        (["", " "], None, None, "is empty"),
        ([ITEM, '{"item_id": "b",'], 2, None, "not valid JSON"),
        ([ITEM, "", '["b"]'], 3, None, "not a JSON object"),
        (['{"item_id": "a", "title": "x", "year": NaN}'], 1, None, "NaN is not a JSON number"),
        (["[" * 100_000], 1, None, "nested too deeply"),
        ([b'{"item_id": "a", "title": "Amor \xe9"}'], 1, None, "byte 33 of the line is not UTF-8"),
        ([item(item_id=...)], 1, "item_id", "is missing"),
        ([item(item_id=None)], 1, "item_id", "is null"),
        ([item(item_id="")], 1, "item_id", "must not be empty"),
        ([item(item_id=1.5)], 1, "item_id", "not a number with a fraction"),
        ([item(item_id=True)], 1, "item_id", "not true or false"),
        ([item(item_id="\ud800")], 1, "item_id", "surrogate"),
        ([ITEM, item(item_id="b", title=...)], 2, "title", "is missing"),
        ([item(title=1984)], 1, "title", "must be a text, not a whole number"),
        ([item(title=" \u200b")], 1, "title", "visible character"),
        ([item(cast={"lead": "x"})], 1, "cast", "list of texts, not an object"),
        ([item(cast=[1, 2])], 1, "cast", "not a list of other things"),
        ([item(new=True)], 1, "new", "not true or false"),
        (['{"item_id": "a", "title": "x", "n": 1e999}'], 1, "n", "not a number too large"),
        ([ITEM, *OTHERS, ITEM], 5, "item_id", "'a' is already the id of line 1"),
    ],
)
def test_a_fault_in_the_items_is_named(
    make_folder: WriteFolder, lines: Sequence[object], line: int | None, field: str, problem: str
) -> None:
    folder = make_folder(items=lines)
    with pytest.raises(InputError) as caught:
        load_folder(folder)
    assert caught.value.file == folder / "items.jsonl"
    assert (caught.value.line, caught.value.field) == (line, field)
    assert problem in caught.value.problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "line", "field", "problem"),
    [
        ([], None, None, "is empty"),
        ([SESSION, "{"], 2, None, "not valid JSON"),
        (["3"], 1, None, "not a JSON object"),
        ([b"\xff"], 1, None, "not UTF-8"),
        ([session(session_id=...)], 1, "session_id", "is missing"),
        ([session(items=...)], 1, "items", "is missing"),
        ([session(target=...)], 1, "target", "is missing"),
        ([session(session_id=[])], 1, "session_id", "not an empty list"),
        ([session(items="a")], 1, "items", "must be a list of ids, not a text"),
        ([session(items=["a", None])], 1, "items", "an id must be a text or a whole number"),
        ([session(target=["c"])], 1, "target", "an id must be a text or a whole number"),
        ([session(candidates={})], 1, "candidates", "must be a list of ids, not an object"),
        ([session(user_id="")], 1, "user_id", "must not be empty"),
        ([session(user_id=["a"])], 1, "user_id", "an id must be a text or a whole number"),
        ([session(items=[])], 1, "items", "at least one item"),
        ([session(items=["a", "?"])], 1, "items", "'?' is not an item_id in items.jsonl"),
        ([session(target="?")], 1, "target", "'?' is not an item_id in items.jsonl"),
        ([session(candidates=["c", "?"])], 1, "candidates", "'?' is not an item_id"),
        ([session(candidates=["a", "d"])], 1, "candidates", "lacks the target 'c'"),
        ([session(candidates=[])], 1, "candidates", "fewer than 2"),
        ([session(candidates=["c", "c"])], 1, "candidates", "fewer than 2"),
        ([SESSION, SESSION], 2, "session_id", "already the id of sessions.valid.jsonl:1"),
        (
            [SESSION, session(session_id="train-3")],
            2,
            "session_id",
            "'train-3' is already the id of sessions.train.jsonl:4",
        ),
    ],
)
def test_a_fault_in_the_sessions_is_named(
    make_folder: WriteFolder, lines: Sequence[object], line: int | None, field: str, problem: str
) -> None:
    folder = make_folder(valid=lines)
    with pytest.raises(InputError) as caught:
        load_folder(folder)
    assert caught.value.file == folder / "sessions.valid.jsonl"
    assert (caught.value.line, caught.value.field) == (line, field)
    assert problem in caught.value.problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("left_out", "file"), [("items", "items.jsonl"), ("train", "sessions.train.jsonl")]
)
def test_a_missing_required_file_is_named(
    make_folder: WriteFolder, left_out: str, file: str
) -> None:
    folder = make_folder(**{left_out: None})
    with pytest.raises(InputError, match="is missing") as caught:
        load_folder(folder)
    assert caught.value.file == folder / file


def test_a_missing_folder_or_a_file_instead_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist; give a folder with items\.jsonl"):
        load_folder(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        load_folder(file)


def test_a_folder_instead_of_a_file_is_named(make_folder: WriteFolder) -> None:
    folder = make_folder(test=None)
    (folder / "sessions.test.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_folder(folder)
    assert caught.value.file == folder / "sessions.test.jsonl"


Given = dict[SplitName, int]


def sessions(split: SplitName, count: int) -> list[Session]:
    return [Session(session_id=f"{split}{n}", items=("a",), target="b") for n in range(count)]


@pytest.mark.parametrize(
    ("given", "sizes", "notes"),
    [
        ({"train": 5, "valid": 2, "test": 3}, (5, 2, 3), []),
        (
            {"train": 180, "test": 20},
            (160, 20, 20),
            ["no sessions.valid.jsonl: cut 20 of the 180 sessions from the end of train"],
        ),
        (
            {"train": 150, "valid": 50},
            (150, 30, 20),
            ["no sessions.test.jsonl: cut 20 of the 50 sessions from the end of valid"],
        ),
        (
            {"train": 200},
            (160, 20, 20),
            [
                "no sessions.valid.jsonl: cut 20 of the 200 sessions from the end of train",
                "no sessions.test.jsonl: cut 20 of the 200 sessions from the end of train",
            ],
        ),
        ({"train": 3}, (1, 1, 1), None),
        ({"train": 100, "valid": 3}, (100, 2, 1), None),
    ],
)
def test_a_missing_split_is_cut_from_the_end_of_the_one_before(
    given: Given, sizes: tuple[int, int, int], notes: list[str] | None
) -> None:
    made = {split: sessions(split, count) for split, count in given.items()}
    splits, said = fill_missing_splits(made, Path("shop"))
    assert tuple(len(splits[split]) for split in ("train", "valid", "test")) == sizes
    everything = [s for split in ("train", "valid", "test") for s in splits[split]]
    assert everything == [s for split in given for s in made[split]]
    if notes is not None:
        assert said == notes


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ({"train": 2}, "sessions.valid.jsonl"),
        ({"train": 1, "test": 5}, "sessions.valid.jsonl"),
        ({"train": 9, "valid": 1}, "sessions.test.jsonl"),
    ],
)
def test_too_little_to_cut_from_is_an_error(given: Given, file: str) -> None:
    made = {split: sessions(split, count) for split, count in given.items()}
    with pytest.raises(InputError, match="too few sessions") as caught:
        fill_missing_splits(made, Path("shop"))
    assert caught.value.file == Path("shop") / file
