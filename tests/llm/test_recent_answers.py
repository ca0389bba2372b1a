import pytest

from agentrec.llm.journal.journal_rows import JournaledAnswer
from agentrec.llm.journal.recent_answers import RecentAnswers


def test_what_was_not_used_for_longest_makes_room() -> None:
    recent = RecentAnswers(3 * 500)
    for key in "abc":
        recent.hold(key, JournaledAnswer("x" * 100))
    assert recent.get("a") is not None
    recent.hold("d", JournaledAnswer("x" * 100))
    assert [key for key in "abcd" if recent.get(key)] == ["a", "c", "d"]
    # One large answer takes the place of several small ones.
    recent.hold("e", JournaledAnswer("x" * 600))
    assert [key for key in "acde" if recent.get(key)] == ["d", "e"]


def test_what_is_larger_than_all_memory_is_not_held() -> None:
    recent = RecentAnswers(500)
    recent.hold("a", JournaledAnswer("x" * 1000))
    assert len(recent) == 0
    recent.hold("b", JournaledAnswer("x"))
    assert recent.get("b") == JournaledAnswer("x")


def test_the_first_answer_under_a_key_is_held() -> None:
    recent = RecentAnswers(10_000)
    recent.hold("a", JournaledAnswer("first"))
    recent.hold("a", JournaledAnswer("second"))
    assert recent.get("a") == JournaledAnswer("first")


def test_impossible_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="memory"):
        RecentAnswers(-1)
