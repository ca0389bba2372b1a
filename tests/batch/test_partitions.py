"""Partitions of a batch: every row is in exactly one of them, the same for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agentrec.batch.partitions import Partition, partitions
from agentrec.data.session_rows import RejectedRow, SessionRow
from agentrec.sessions import Session


def session(name: str, index: int = 0) -> SessionRow:
    return SessionRow(
        index, index + 1, Session(session_id=name, items=("a",), candidates=("b", "c"))
    )


def rejected(index: int, name: str | None) -> RejectedRow:
    return RejectedRow(index, index + 1, name, "not_json", "no JSON", "{")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_row_is_in_one_partition_and_partitions_are_similar_in_size(count: int) -> None:
    rows = [session(f"s{n}", n) for n in range(700)]
    bad = [rejected(n, None) for n in range(700, 800)]
    owners = [[one for one in partitions(count) if one.contains(row)] for row in [*rows, *bad]]
    assert all(len(found) == 1 for found in owners)
    sizes = [sum(found[0].index == n for found in owners) for n in range(count)]
    assert min(sizes) > 0.7 * 800 / count


def test_rows_with_the_same_id_are_together_also_if_one_is_rejected() -> None:
    for n in range(50):
        found = [one.contains(session(f"s{n}", 3)) for one in partitions(5)]
        assert found == [one.contains(session(f"s{n}", 99)) for one in partitions(5)]
        assert found == [one.contains(rejected(7, f"s{n}")) for one in partitions(5)]


def test_a_resumed_batch_finds_the_partitions_it_was_started_with() -> None:
    # Written down once: another hash would have every session done again elsewhere.
    rows = [*(session(name) for name in "abcdef"), rejected(3, None), rejected(4, None)]
    assert [next(one.index for one in partitions(4) if one.contains(row)) for row in rows] == [
        0,
        0,
        1,
        2,
        1,
        3,
        2,
        0,
    ]


def test_an_only_partition_has_no_folder_of_its_own(tmp_path: Path) -> None:
    assert Partition().folder(tmp_path) == tmp_path
    assert Partition(index=3, count=8).folder(tmp_path) == tmp_path / "partitions" / "003"
    with pytest.raises(ValidationError, match="partition 2 of 2 does not exist"):
        Partition(index=2, count=2)
