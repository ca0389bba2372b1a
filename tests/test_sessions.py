import pytest
from pydantic import ValidationError

from agentrec.sessions import Session


def test_the_least_a_session_needs() -> None:
    session = Session(session_id="s", items=("a",))
    assert session.target is None
    assert session.candidates == ()
    assert session.user_id is None


def test_an_item_may_be_used_twice_and_offered_again() -> None:
    session = Session(session_id="s", items=("a", "a"), target="a", candidates=("b", "a"))
    assert session.items == ("a", "a")


def test_a_target_needs_no_candidates() -> None:
    assert Session(session_id="s", items=("a",), target="z").target == "z"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"session_id": ""}, "at least 1"),
        ({"user_id": ""}, "at least 1"),
        ({"items": ()}, "at least 1"),
        ({"candidates": ("a", "b", "a")}, "candidates name an item twice"),
        ({"target": "z", "candidates": ("a", "b")}, "target is not among the candidates"),
    ],
)
def test_inconsistent_sessions_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Session.model_validate({"session_id": "s", "items": ("a",), **wrong})


def test_a_session_does_not_change_and_survives_json() -> None:
    session = Session(session_id="s", items=("a", "b"), target="c", candidates=("c", "d"))
    session = session.model_copy(update={"user_id": "u"})
    with pytest.raises(ValidationError):
        session.target = None  # type: ignore[misc]
    assert Session.model_validate_json(session.model_dump_json()) == session
    assert len({session, session.model_copy()}) == 1
