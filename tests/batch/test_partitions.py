"""Parts of a batch: every row is in one of them, the same for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agentrec.batch.partitions import Partition, partitions
from agentrec.data.session_rows import RejectedRow, SessionRow
from agentrec.sessions import Session


def session(name: str, place: int = 0) -> SessionRow:
    return SessionRow(
        place, place + 1, Session(session_id=name, items=("a",), candidates=("b", "c"))
    )


def rejected(place: int, name: str | None) -> RejectedRow:
    return RejectedRow(place, place + 1, name, "not_json", "no JSON", "{")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_row_is_in_one_part_and_parts_are_of_a_size(count: int) -> None:
    rows = [session(f"s{n}", n) for n in range(700)]
    bad = [rejected(n, None) for n in range(700, 800)]
    holding = [[one for one in partitions(count) if one.holds(row)] for row in [*rows, *bad]]
    assert all(len(held) == 1 for held in holding)
    sizes = [sum(held[0].number == n for held in holding) for n in range(count)]
    assert min(sizes) > 0.7 * 800 / count


def test_rows_of_one_id_are_together_also_if_one_is_rejected() -> None:
    for n in range(50):
        held = [one.holds(session(f"s{n}", 3)) for one in partitions(5)]
        assert held == [one.holds(session(f"s{n}", 99)) for one in partitions(5)]
        assert held == [one.holds(rejected(7, f"s{n}")) for one in partitions(5)]


def test_a_batch_that_goes_on_finds_the_parts_it_was_begun_with() -> None:
    # Written down once: another hash would have every session done again in another part.
    assert [
        next(one.number for one in partitions(4) if one.holds(session(name)))
        for name in ("a", "b", "c", "d", "e", "f")
    ] == [0, 0, 1, 2, 1, 3]


def test_the_whole_has_no_folder_of_its_own(tmp_path: Path) -> None:
    assert Partition().folder(tmp_path) == tmp_path
    assert Partition(number=3, of=8).folder(tmp_path) == tmp_path / "partitions" / "003"
    with pytest.raises(ValidationError, match="part 2 is none of 2"):
        Partition(number=2, of=2)
