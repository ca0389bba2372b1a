from __future__ import annotations

from pathlib import Path

import pytest

from agentrec.data.dataset import SplitName
from agentrec.data.dataset_folder import fill_missing_splits
from agentrec.errors import InputError
from agentrec.sessions import Session

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
