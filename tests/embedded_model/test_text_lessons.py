from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import mean

import pytest
from embedded_model.planted import Planted

from agentrec.embedded_model.teaching.text_lessons import IGNORED_LABEL, text_lesson
from agentrec.embedded_model.text_grammar import detokenize, factor_token
from agentrec.embedded_model.vocabulary import END, NONE, PAD, SAY, SECTIONS, TASKS
from agentrec.llm.answers.preference_statements import parse_preference

Row = tuple[list[int], list[int]]


def rows(planted: Planted, count: int = 400) -> list[Row]:
    tokens, labels = text_lesson(planted.corpus(), count)
    assert tokens.shape == labels.shape
    return list(zip(tokens.tolist(), labels.tolist(), strict=True))


def of_task(planted: Planted, task: str) -> Iterator[list[int]]:
    for row, _ in rows(planted):
        if row[0] == planted.vocabulary.ids[f"<{task}>"]:
            yield row


def words(planted: Planted, row: list[int]) -> list[str]:
    """What is to be written."""
    names, ids = [*planted.vocabulary.ids], planted.vocabulary.ids
    return [names[token] for token in row[row.index(ids[SAY]) + 1 : row.index(ids[END])]]


def target_of(planted: Planted, row: list[int]) -> int:
    """Catalogue position of the target, the eleventh behind ten predictions."""
    return section(planted, row, "<predictions>")[10] - planted.vocabulary.first_item


def section(planted: Planted, row: list[int], mark: str) -> list[int]:
    """Tokens of one section."""
    ids = planted.vocabulary.ids
    start = row.index(ids[mark]) + 1
    ends = {ids[other] for other in (*SECTIONS, SAY)}
    end = next(index for index in range(start, len(row)) if row[index] in ends)
    return row[start:end]


def test_labels_cover_the_text_from_its_mark_to_the_end_mark(films: Planted) -> None:
    ids = films.vocabulary.ids
    marks = {ids[mark] for mark in (*TASKS, *SECTIONS, SAY, PAD, NONE)}
    seen = set()
    for row, wanted in rows(films, 64):
        at, end = row.index(ids[SAY]), row.index(ids[END])
        assert wanted[: at + 1] == [IGNORED_LABEL] * (at + 1)
        assert wanted[at + 1 : end + 1] == row[at + 1 : end + 1]
        assert wanted[end + 1 :] == [IGNORED_LABEL] * (len(row) - end - 1)
        assert row[end + 1 :] == [ids[PAD]] * (len(row) - end - 1)
        said = row[at + 1 : end]
        assert said
        assert all(token < films.vocabulary.first_handle for token in said)
        assert not marks & set(said)
        seen.add(row[0])
    assert seen == {ids[task] for task in TASKS if task != "<rank>"}


def test_each_task_sees_what_its_prompt_shows_and_no_more(films: Planted) -> None:
    shown = {
        "critique": {"<predictions>"},
        "diagnose": {"<predictions>"},
        "hints": {"<predictions>"},
        "preference": {"<history>", "<factors>"},
        "question": {"<history>", "<candidates>"},
    }
    ids, first = films.vocabulary.ids, films.vocabulary.first_item
    for task, marks in shown.items():
        for row in of_task(films, task):
            prompt = row[: row.index(ids[SAY])]
            assert {mark for mark in SECTIONS if ids[mark] in prompt} == marks
            if "<predictions>" in marks:
                items = section(films, row, "<predictions>")
                # Only who knows the target sees it.
                assert len(items) == (10 if task == "critique" else 11)
                assert len(set(items)) == len(items)
                assert min(items) >= first


@pytest.mark.parametrize("task", ["diagnose", "hints"])
def test_texts_about_a_target_name_what_it_has(films: Planted, task: str) -> None:
    names = {aspect.token: aspect for aspect in films.aspects}
    scores: list[float] = []
    for row in of_task(films, task):
        target = target_of(films, row)
        said = words(films, row)
        if task == "diagnose":
            said = said[: said.index(".")]
        scores += [float(names[word].scores[target]) for word in said if word in names]
    assert sum(scores) / len(scores) > 1


def test_critiques_name_what_the_predictions_hold(films: Planted) -> None:
    names = {aspect.token: aspect for aspect in films.aspects}
    held = []
    for row in of_task(films, "critique"):
        items = [t - films.vocabulary.first_item for t in section(films, row, "<predictions>")]
        said = [names[word] for word in words(films, row) if word in names]
        assert len(said) == 2
        held += [float(aspect.scores[items].mean()) for aspect in said]
    assert sum(held) / len(held) > 0.5


def test_preferences_are_about_the_requested_factors_in_order(films: Planted) -> None:
    names = [*films.vocabulary.ids]
    numbers, left_out = set(), set()
    for row in of_task(films, "preference"):
        asked = [names[token].replace("_", " ") for token in section(films, row, "<factors>")]
        stated = parse_preference(detokenize("preference", 10, words(films, row)))
        said = [one.factor for one in stated]
        assert said
        assert said == [factor for factor in asked if factor in said]
        numbers.add(len(asked))
        if len(asked) > 1:
            left_out.add(len(asked) - len(said))
        for one in stated:
            parts = one.preference.split(" and ")
            assert all(part and not part.startswith(f"{one.factor} ") for part in parts)
    assert len(numbers) > 1
    # Both whole answers and shorter ones are taught.
    assert {0, 1} <= left_out


def test_preferences_leave_out_what_the_history_shows_less_of(films: Planted) -> None:
    names = [*films.vocabulary.ids]
    first = films.vocabulary.first_item
    said: list[float] = []
    left_out: list[float] = []
    for row in of_task(films, "preference"):
        asked = [names[token] for token in section(films, row, "<factors>")]
        shown = section(films, row, "<history>")
        history = [token - first for token in shown if token >= first]
        plain_words = words(films, row)
        for word in asked:
            held = [
                float(aspect.scores[history].mean())
                for aspect in films.aspects
                if factor_token(aspect.factor) == word
            ]
            # A line begins with its factor and a colon.
            stated = any(pair == (word, ":") for pair in pairwise(plain_words))
            (said if stated else left_out).append(max(held))
    assert len(said) > 20 < len(left_out)
    assert mean(said) > 0.8 > mean(left_out) + 0.2


def test_questions_offer_two_things(films: Planted) -> None:
    names = {aspect.token for aspect in films.aspects}
    for row in of_task(films, "question"):
        said = words(films, row)
        assert said[:3] == ["do", "you", "prefer"]
        assert [word in names for word in said[3:]] == [True, False, True, False]
        assert said[3] != said[5]
        assert len(section(films, row, "<candidates>")) == 12
