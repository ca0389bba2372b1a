from __future__ import annotations

import random
from typing import get_args

import pytest
from embedded_model.planted import Planted
from hypothesis import given
from hypothesis import strategies as st

from agentrec.embedded_model.language.text_grammar import (
    HINT_END,
    Detokenizer,
    Task,
    detokenize,
    hint_list_words,
    hint_words,
    preference_words,
    question_words,
)
from agentrec.llm.answers.parsing import parse_lines, parse_question
from agentrec.llm.answers.preference_statements import parse_preference

WORDS = st.lists(
    st.sampled_from(["prefer", "and", "kind_war", "made_in", ",", ".", ":", "?", HINT_END]),
    max_size=20,
)
TASKS = st.sampled_from([task for task in get_args(Task) if task != "rank"])


@given(task=TASKS, count=st.integers(0, 4), words=WORDS)
def test_word_by_word_is_the_whole_and_has_no_marks_of_the_models_own(
    task: Task, count: int, words: list[str]
) -> None:
    phrasing = Detokenizer(task, count)
    said = "".join([*(phrasing.add(word) for word in words), phrasing.end()])
    assert said == detokenize(task, count, words)
    assert "_" not in said
    assert "  " not in said
    if task in {"hints", "preference"}:
        assert HINT_END not in said
        assert len(said.splitlines()) <= count


@given(count=st.integers(0, 5), words=WORDS)
def test_hints_are_numbered_from_one_and_end_in_a_full_stop(count: int, words: list[str]) -> None:
    lines = detokenize("hints", count, words).splitlines()
    for number, line in enumerate(lines, start=1):
        assert line.startswith(f"{number}. ")
        assert line.endswith(".")


def test_hints_come_back_as_lines(films: Planted) -> None:
    rng = random.Random(0)
    for _ in range(30):
        hints = [[(aspect, 1)] for aspect in rng.sample(films.aspects, 3)]
        said = detokenize("hints", 5, hint_list_words(hints))
        assert parse_lines(said, 5) == [detokenize("critique", 1, hint_words(h)) for h in hints]
    assert parse_lines(detokenize("hints", 2, hint_list_words(hints)), 5) == parse_lines(said, 2)


def test_preferences_come_back_by_factor_without_its_name(films: Planted) -> None:
    by_factor: dict[str, list[int]] = {}
    for place, aspect in enumerate(films.aspects):
        by_factor.setdefault(aspect.factor, []).append(place)
    assert set(by_factor) > {"kind", "made in"}
    for first in range(2):
        preferred = [
            (factor, [films.aspects[places[first]], films.aspects[places[-1]]])
            for factor, places in by_factor.items()
        ]
        stated = parse_preference(detokenize("preference", 9, preference_words(preferred)))
        assert [one.factor for one in stated] == list(by_factor)
        for one, (factor, aspects) in zip(stated, preferred, strict=True):
            expected = [aspect.phrase.removeprefix(f"{factor} ") for aspect in aspects]
            assert one.preference == " and ".join(expected)
            assert one.evidence is None


def test_questions_come_back_whole(films: Planted) -> None:
    for one, other in zip(films.aspects, films.aspects[1:], strict=False):
        said = detokenize("question", 1, question_words(one, other))
        assert parse_question(said) == said == f"Do you prefer {one.phrase} or {other.phrase}?"


@pytest.mark.parametrize("task", ["critique", "diagnose", "question"])
def test_a_sentence_begins_with_a_capital_letter_and_comes_to_an_end(task: Task) -> None:
    said = detokenize(task, 1, ["élan", ".", "kind_war", ",", "and"])
    assert said == "Élan. Kind war, and."
    assert detokenize(task, 1, ["you", "?"]) == "You?"
    assert detokenize(task, 1, []) == ""
