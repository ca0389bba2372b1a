"""What texts are judged by: the target, or all that came after what they are about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.continuations import Continuation, continuation_of, first_part
from agentrec.sessions import Session

SESSION = Session(
    session_id="s",
    items=tuple("abcdefghij"),
    target="t",
    candidates=("x", "t", "y"),
    user_id="u",
)
SHARES = st.floats(0.01, 1)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Short histories of few items, so that items come again everywhere."""
    ids = st.sampled_from("abcdefgh")
    candidates = draw(st.lists(ids, min_size=1, unique=True))
    return Session(
        session_id=draw(st.text(min_size=1, max_size=5)),
        items=tuple(draw(st.lists(ids, min_size=1, max_size=12))),
        target=draw(st.sampled_from(candidates)),
        candidates=tuple(candidates),
    )


def test_the_target_alone_leaves_the_session_as_it_is() -> None:
    for share in (0.1, 0.7, 1.0):
        assert continuation_of(SESSION, share, "target") == Continuation(SESSION, ("t",))


def test_the_rest_of_a_history_stands_among_the_candidates() -> None:
    judged = continuation_of(SESSION, 0.7, "rest")
    assert judged.relevant == ("t", "h", "i", "j")
    assert judged.session.items == tuple("abcdefg")
    assert sorted(judged.session.candidates) == sorted("xtyhij")
    assert (judged.session.session_id, judged.session.user_id) == ("s", "u")
    assert judged.session.target == "t"


def test_what_came_twice_is_relevant_once_and_what_was_shown_is_not() -> None:
    session = SESSION.model_copy(update={"items": tuple("abcabdtde")})
    judged = continuation_of(session, 0.34, "rest")
    assert judged.session.items == tuple("abc")
    assert judged.relevant == ("t", "d", "e")
    assert sorted(judged.session.candidates) == sorted("xtyde")


def test_a_history_that_is_shown_whole_has_the_target_behind_it() -> None:
    assert continuation_of(SESSION, 1.0, "rest") == Continuation(SESSION, ("t",))


def test_at_least_one_item_is_shown() -> None:
    short = SESSION.model_copy(update={"items": ("a", "b")})
    assert first_part(short, 0.01).items == ("a",)
    assert continuation_of(short, 0.01, "rest").relevant == ("t", "b")
    # 0.7 * 10 is a little less than 7 for a computer.
    assert len(first_part(SESSION, 0.7).items) == 7


@given(sessions(), SHARES)
def test_what_is_relevant_is_a_candidate_and_none_of_what_was_shown(
    session: Session, share: float
) -> None:
    judged = continuation_of(session, share, "rest")
    ranked, shown = judged.session, first_part(session, share).items
    assert ranked.items == shown
    # As a whole it is a session such as others are.
    assert Session.model_validate(ranked.model_dump()) == ranked
    assert judged.relevant[0] == session.target
    assert len(set(judged.relevant)) == len(judged.relevant)
    assert set(judged.relevant) <= set(ranked.candidates)
    assert not set(judged.relevant[1:]) & set(shown)
    # What was a candidate before still is one, in the same order; nothing came but the rest.
    assert tuple(one for one in ranked.candidates if one in session.candidates) == (
        session.candidates
    )
    assert set(ranked.candidates) == {*session.candidates, *judged.relevant}
    assert judged == continuation_of(session, share, "rest")


def test_no_place_gives_what_is_relevant_away() -> None:
    many = tuple(f"c{n}" for n in range(20))
    positions = []
    for number in range(200):
        session = Session(
            session_id=f"s{number}",
            items=tuple("abcdefghij"),
            target="c5",
            candidates=many,
        )
        candidates = continuation_of(session, 0.7, "rest").session.candidates
        positions += [candidates.index(one) for one in "hij"]
    # 23 positions, 600 draws: 26 a position.
    assert set(positions) == set(range(23))
    assert max(positions.count(position) for position in range(23)) < 60
    assert sum(positions) / len(positions) == pytest.approx(11, abs=0.8)


@pytest.mark.parametrize("relevant", ["target", "rest"])
@pytest.mark.parametrize("without", [{"target": None}, {"candidates": ()}])
def test_without_target_or_candidates_there_is_nothing_to_judge_by(
    relevant: str, without: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="session 's' needs candidates and a target"):
        continuation_of(SESSION.model_copy(update=without), 0.5, relevant)  # type: ignore[arg-type]
