from __future__ import annotations

import pytest

from agentrec.policies.sequential.sequences import (
    history_tensor,
    item_numbers,
    left_padded,
    training_sequences,
)
from agentrec.sessions import Session

NUMBERS = item_numbers("abcdefghij")


def session(items: str, target: str | None = None) -> Session:
    return Session(session_id=f"{items}-{target}", items=tuple(items), target=target)


def steps(sessions: list[Session], repeats: str = "each", max_length: int = 20) -> list[str]:
    """What is to be learnt, as `history>next`."""
    letters = ".abcdefghij"
    made = training_sequences(sessions, NUMBERS, max_length, repeats)  # type: ignore[arg-type]
    found = []
    for items, targets in zip(made.items.tolist(), made.targets.tolist(), strict=True):
        for place, target in enumerate(targets):
            if target:
                history = "".join(letters[item] for item in items[: place + 1] if item)
                found.append(f"{history}>{letters[target]}")
    return found


def test_every_step_is_learnt_the_target_among_them() -> None:
    assert steps([session("abc", "d"), session("e", "f"), session("gh")]) == [
        "a>b",
        "ab>c",
        "abc>d",
        "e>f",
        "g>h",
    ]


def test_histories_are_padded_on_the_left() -> None:
    made = training_sequences([session("abc", "d"), session("e", "f")], NUMBERS, 20)
    assert made.items.tolist() == [[1, 2, 3], [0, 0, 5]]
    assert made.targets.tolist() == [[2, 3, 4], [0, 0, 6]]
    assert made.item_counts(10).tolist() == [0, 1, 1, 1, 0, 1, 0, 0, 0, 0]


def test_nothing_to_learn_is_left_out() -> None:
    assert len(training_sequences([session("a")], NUMBERS, 20)) == 0


def test_a_long_sequence_is_cut_with_each_step_in_one_piece() -> None:
    found = steps([session("abcdefg", "h")], max_length=3)
    assert sorted(found) == sorted(["a>b", "b>c", "bc>d", "bcd>e", "e>f", "ef>g", "efg>h"])


@pytest.mark.parametrize("max_length", [1, 2, 3, 4, 5, 20])
def test_no_length_loses_or_repeats_a_step(max_length: int) -> None:
    found = steps([session("abcdefg", "h"), session("abc", "d")], max_length=max_length)
    assert sorted(step[-3:] for step in found) == sorted(
        ["a>b", "b>c", "c>d", "d>e", "e>f", "f>g", "g>h", "a>b", "b>c", "c>d"]
    )
    assert max(len(step) for step in found) <= max_length + 2


def test_growing_sessions_teach_each_step_once_if_so_wanted() -> None:
    growing = [session("abc", "d"), session("abcd", "e"), session("abcde", "f")]
    assert steps(growing, "once") == ["a>b", "ab>c", "abc>d", "abcd>e", "abcde>f"]
    assert len(steps(growing, "each")) == 3 + 4 + 5


def test_so_do_sliding_ones() -> None:
    sliding = [session("abcd", "e"), session("bcde", "f"), session("cdef", "g")]
    assert steps(sliding, "once") == ["a>b", "ab>c", "abc>d", "abcd>e", "bcde>f", "cdef>g"]


def test_short_runs_in_common_are_no_overlap() -> None:
    alike = [session("ab", "c"), session("ab", "c"), session("abc", "i"), session("jab", "d")]
    assert steps(alike, "once") == steps(alike, "each")


def test_a_session_that_repeats_itself_is_no_overlap() -> None:
    circle = [session("abcabcabc")]
    assert steps(circle, "once") == steps(circle, "each")


def test_an_unknown_item_is_no_training_data() -> None:
    with pytest.raises(ValueError, match=r"'ax-b' names 'x', which is not in the catalogue"):
        training_sequences([session("ax", "b")], NUMBERS, 5)


def test_histories_hold_known_items_and_never_the_target() -> None:
    sessions = [session("axb", "c"), session("xyz", "a"), session("abcdef")]
    expected = [[0, 0, 1, 2], [0, 0, 0, 0], [3, 4, 5, 6]]
    assert history_tensor(sessions, NUMBERS, 4).tolist() == expected


def test_rows_are_at_least_one_wide() -> None:
    assert left_padded([], 4).shape == (0, 1)
    assert left_padded([[], []], 4).tolist() == [[0], [0]]
