from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agentrec.embedded_model.chat_model import StopSequences

TEXTS = st.text("ab\n", max_size=30)
SEQUENCES = st.lists(st.text("ab\n", max_size=4), max_size=3)


def passed(pieces: Sequence[str], sequences: Sequence[str]) -> list[str]:
    stopping = StopSequences(sequences)
    return [*(stopping.feed(piece) for piece in pieces), stopping.flush()]


def cut(text: str, sequences: Sequence[str]) -> str:
    """A text up to the first of some sequences, the plainest way."""
    places = [place for s in sequences if s and (place := text.find(s)) >= 0]
    return text[: min(places, default=len(text))]


@given(pieces=st.lists(TEXTS, max_size=8), sequences=SEQUENCES)
def test_however_a_text_is_cut_into_pieces_it_ends_at_the_same_place(
    pieces: list[str], sequences: list[str]
) -> None:
    assert "".join(passed(pieces, sequences)) == cut("".join(pieces), sequences)


@given(pieces=st.lists(TEXTS, max_size=8), sequences=SEQUENCES)
def test_no_more_is_held_back_than_may_yet_turn_out_to_be_a_sequence(
    pieces: list[str], sequences: list[str]
) -> None:
    stopping, longest = StopSequences(sequences), max(map(len, sequences), default=0)
    so_far = said = ""
    for piece in pieces:
        so_far += piece
        said += stopping.feed(piece)
        wanted = cut(so_far, sequences)
        assert wanted.startswith(said)
        assert len(wanted) - len(said) <= max(0, longest - 1)


def test_without_sequences_every_piece_goes_straight_on() -> None:
    assert passed(["a", "", "bc"], []) == passed(["a", "", "bc"], [""]) == ["a", "", "bc", ""]


def test_a_sequence_that_is_split_over_pieces_is_found() -> None:
    assert passed(["one, t", "w", "o, three"], ["two"]) == ["one,", " ", "", ""]
    assert "".join(passed(["ab", "ab", "c"], ["abc"])) == "ab"


def test_what_comes_behind_the_end_is_never_said() -> None:
    stopping = StopSequences(["."])
    assert [stopping.feed(p) for p in ("a. b", "c", ".")] == ["a", "", ""]
    assert stopping.flush() == stopping.flush() == ""
