from __future__ import annotations

import itertools
import random
from typing import get_args

import pytest
from embedded_model.planted import Planted
from hypothesis import given
from hypothesis import strategies as st

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.aspects import Aspect
from agentrec.embedded_model.text_grammar import (
    HINT_END,
    Detokenizer,
    Task,
    all_words,
    critique_words,
    detokenize,
    diagnosis_words,
    hint_list_words,
    hint_words,
    known_words,
    preference_words,
    question_words,
)
from agentrec.hints import Hint
from agentrec.llm.answers.parsing import parse_lines, parse_question
from agentrec.llm.answers.preference_statements import parse_preference


@pytest.fixture(params=["films", "titles", "hard"])
def made(request: pytest.FixtureRequest) -> Planted:
    if request.param != "hard":
        planted: Planted = request.getfixturevalue(request.param)
        return planted
    values = ["ÉTÉ_Größe", "a b c d e f g h i j k l m n o p", "R&B / Soul", "and", "İzmir 24-7"]
    return Planted.of(
        Catalog(
            Item(
                item_id=str(n),
                title=f"T{n}",
                attributes={"_the kind": values[n % 5], "below-zero": n - 40},
            )
            for n in range(60)
        )
    )


def said_as_hint(words: list[str]) -> str:
    return detokenize("critique", 1, words)


def test_every_hint_survives_a_round_trip(made: Planted) -> None:
    known = set(all_words(made.aspects))
    rng = random.Random(0)
    alone = [[(aspect, sign)] for aspect in made.aspects for sign in (1, -1)]
    pairs = [
        [(one, first), (other, second)]
        for one, other in itertools.permutations(made.aspects, 2)
        for first, second in ((1, 1), (1, -1), (-1, 1))
    ]
    for wanted in [*alone, *pairs]:
        for source in (None, rng, rng):
            words = hint_words(wanted, source)
            said = Hint(text=said_as_hint(words)).text
            assert known_words(said, known) == words, said
            assert set(words) <= known


def test_the_plain_form_of_hints(films: Planted) -> None:
    horror, old = films.aspect("kind horror"), films.aspect("low made in")
    assert said_as_hint(hint_words([(horror, 1)])) == "Prefer kind horror."
    assert (
        said_as_hint(hint_words([(horror, 1), (old, 1)])) == "Prefer kind horror and low made in."
    )
    assert (
        said_as_hint(hint_words([(horror, -1), (old, 1)]))
        == "Avoid kind horror and prefer low made in."
    )
    assert detokenize("critique", 1, critique_words([horror, old])) == (
        "The predictions lean to kind horror and low made in, perhaps too much."
    )
    assert detokenize("diagnose", 1, diagnosis_words([horror], [old])) == (
        "The target has more: kind horror. The predictions have more: low made in."
    )
    assert detokenize("question", 1, question_words(horror, old)) == (
        "Do you prefer kind horror or low made in?"
    )
    preferred = [("kind", [horror]), ("made in", [old, films.aspect("high made in")])]
    assert detokenize("preference", 9, preference_words(preferred)) == (
        "kind: horror\nmade in: low made in and high made in"
    )


def test_paraphrases_differ_and_keep_the_phrases(films: Planted) -> None:
    wanted = [(films.aspects[0], 1), (films.aspects[5], -1)]
    rng = random.Random(3)
    said = {tuple(hint_words(wanted, rng)) for _ in range(50)}
    assert len(said) > 10
    for words in said:
        assert [w for w in words if "_" in w] == [a.token for a, _ in wanted]


def test_the_longest_phrase_is_read_and_unknown_words_are_dropped(films: Planted) -> None:
    known = {"prefer", "made_in", "made_in_1950", "made_in_1950_to_1955"}
    text = "Zounds! PREFER, verily, Made in 1950 to 1955; made-in 1950 or made in."
    assert known_words(text, known) == [
        "prefer",
        "made_in_1950_to_1955",
        "made_in_1950",
        "made_in",
    ]
    assert known_words("", known) == known_words("nothing here \x00 ...", known) == []


def test_a_list_of_hints_closes_each(films: Planted) -> None:
    one, two = films.aspects[:2]
    words = hint_list_words([[(one, 1)], [(one, 1), (two, 1)]])
    assert words == ["prefer", one.token, HINT_END, "prefer", one.token, "and", two.token, HINT_END]


def test_no_word_occurs_twice_in_the_vocabulary(made: Planted) -> None:
    words = all_words(made.aspects)
    assert len(words) == len(set(words))
    assert not any(" " in word or not word for word in words)
    assert {aspect.token for aspect in made.aspects} <= set(words)


def test_empty_texts_are_composed() -> None:
    none: list[Aspect] = []
    assert hint_list_words([]) == preference_words([]) == []
    assert detokenize("critique", 1, critique_words(none)).startswith("The predictions lean to")
    assert detokenize("diagnose", 1, diagnosis_words(none, none)).endswith(".")


WORDS = st.lists(
    st.sampled_from(["prefer", "and", "kind_war", "made_in", ",", ".", ":", "?", HINT_END]),
    max_size=20,
)
TASKS = st.sampled_from([task for task in get_args(Task) if task != "rank"])


@given(task=TASKS, count=st.integers(0, 4), words=WORDS)
def test_detokenizing_word_by_word_gives_the_whole_text(
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


def test_hints_are_parsed_as_lines(films: Planted) -> None:
    rng = random.Random(0)
    for _ in range(30):
        hints = [[(aspect, 1)] for aspect in rng.sample(films.aspects, 3)]
        said = detokenize("hints", 5, hint_list_words(hints))
        assert parse_lines(said, 5) == [detokenize("critique", 1, hint_words(h)) for h in hints]
    assert parse_lines(detokenize("hints", 2, hint_list_words(hints)), 5) == parse_lines(said, 2)


def test_preferences_are_parsed_by_factor(films: Planted) -> None:
    by_factor: dict[str, list[int]] = {}
    for index, aspect in enumerate(films.aspects):
        by_factor.setdefault(aspect.factor, []).append(index)
    assert set(by_factor) > {"kind", "made in"}
    for first in range(2):
        preferred = [
            (factor, [films.aspects[indices[first]], films.aspects[indices[-1]]])
            for factor, indices in by_factor.items()
        ]
        stated = parse_preference(detokenize("preference", 9, preference_words(preferred)))
        assert [one.factor for one in stated] == list(by_factor)
        for one, (factor, aspects) in zip(stated, preferred, strict=True):
            expected = [aspect.phrase.removeprefix(f"{factor} ") for aspect in aspects]
            assert one.preference == " and ".join(expected)
            assert one.evidence is None


def test_questions_are_parsed_whole(films: Planted) -> None:
    for one, other in zip(films.aspects, films.aspects[1:], strict=False):
        said = detokenize("question", 1, question_words(one, other))
        assert parse_question(said) == said == f"Do you prefer {one.phrase} or {other.phrase}?"


@pytest.mark.parametrize("task", ["critique", "diagnose", "question"])
def test_a_sentence_begins_with_a_capital_letter_and_comes_to_an_end(task: Task) -> None:
    said = detokenize(task, 1, ["élan", ".", "kind_war", ",", "and"])
    assert said == "Élan. Kind war, and."
    assert detokenize(task, 1, ["you", "?"]) == "You?"
    assert detokenize(task, 1, []) == ""
