import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentrec.hints import MAX_HINT_LENGTH, Hint, HintChoice, HintProvenance, ScoredHint


def provenance(before: float = 0.1, after: float = 0.6) -> HintProvenance:
    return HintProvenance(
        session_id="s", model="m", prompt_hash="h", ndcg_before=before, ndcg_after=after
    )


def test_the_same_text_however_written_is_the_same_hint() -> None:
    written = ("Prefer old films.", "PREFER  old\nfilms.", " prefer old films.\u200b")
    assert len({Hint(text=text).hint_id for text in written}) == 1
    assert Hint(text="Straße").hint_id == Hint(text="STRASSE").hint_id
    assert Hint(text="Ame\u0301lie").hint_id == Hint(text="Amélie").hint_id
    assert Hint(text="Prefer old films").hint_id != Hint(text="Prefer old films.").hint_id


def test_where_a_hint_comes_from_does_not_change_what_it_is() -> None:
    assert Hint(text="x", provenance=provenance()).hint_id == Hint(text="x").hint_id
    assert Hint(text="x").hint_id == "2d711642b726b044"


@given(st.text(min_size=1))
def test_a_hint_is_one_capped_line_or_refused(text: str) -> None:
    try:
        hint = Hint(text=text)
    except ValidationError:
        return
    assert 1 <= len(hint.text) <= MAX_HINT_LENGTH
    assert len(hint.text.splitlines()) == 1
    assert len(hint.hint_id) == 16
    assert Hint.model_validate_json(hint.model_dump_json()) == hint


@pytest.mark.parametrize("text", ["", "  ", "\n\x00\u200b"])
def test_an_invisible_hint_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Hint(text=text)


def test_a_long_hint_is_cut() -> None:
    assert len(Hint(text="word " * 10_000).text) <= MAX_HINT_LENGTH


@pytest.mark.parametrize(("before", "after"), [(-0.1, 0), (0, 1.1), (math.nan, 0), (0, math.inf)])
def test_an_impossible_ndcg_is_refused(before: float, after: float) -> None:
    with pytest.raises(ValidationError):
        provenance(before, after)


def test_hints_do_not_change() -> None:
    hint = Hint(text="x", provenance=provenance())
    with pytest.raises(ValidationError):
        hint.text = "y"  # type: ignore[misc]
    assert ScoredHint(hint=hint, similarity=-1).hint is hint


def test_a_choice_may_be_none_and_its_probability_at_most_one() -> None:
    assert HintChoice(hint_id=None, log_probability=0).hint_id is None
    assert HintChoice(hint_id="a", log_probability=-math.inf).value == 0
    for impossible in (0.1, math.nan, math.inf):
        with pytest.raises(ValidationError):
            HintChoice(hint_id="a", log_probability=impossible)
