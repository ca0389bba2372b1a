"""What was taught is there after training, and is not there without the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from embedded_model.planted import (
    RANKING_PLAN,
    TEXT_TASKS,
    Planted,
    compact,
    factors,
    listed,
    rank_prompt,
    text_prompt,
)
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.decoding import Sampling, rank_candidates
from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching.evaluation import Examination, examine
from agentrec.embedded_model.teaching.ranking_lessons import list_lesson, list_loss
from agentrec.embedded_model.teaching.teacher import Teacher
from agentrec.embedded_model.text_grammar import detokenize, hint_words
from agentrec.llm.answers.parsing import parse_lines, parse_question
from agentrec.llm.answers.preference_statements import parse_preference

SESSIONS = 10
GREEDY = [Sampling()]


def blank(planted: Planted) -> CatalogModel:
    """A network of the same shape that starts out knowing nothing."""
    torch.manual_seed(0)
    network = GPT2LMHeadModel(planted.network().config).eval()
    return CatalogModel("blank", network, planted.vocabulary)


class NoiseTeacher(Teacher):
    """Says something else about the same items every time it is asked."""

    def hinted_scores(self, *args: torch.Tensor) -> torch.Tensor:
        scores = super().hinted_scores(*args)
        noise = torch.Generator().manual_seed(int(abs(scores).sum() * 1000))
        return scores.gather(1, torch.rand(scores.shape, generator=noise).argsort(dim=1))


def graded(model: CatalogModel, planted: Planted) -> Examination:
    return examine(model, planted.corpus(), prompts=48, candidates=24)


def shift(model: CatalogModel, planted: Planted, phrase: str, sign: int = 1) -> float:
    """How far up, of 1, a hint moves the holders of a property."""
    return place_of_holders(model, planted, phrase, 0) - place_of_holders(
        model, planted, phrase, sign
    )


def place_of_holders(model: CatalogModel, planted: Planted, phrase: str, sign: int) -> float:
    """Mean index, 0 (first) to 1, of the candidates that have a property; sign 0 for no hint."""
    aspect = planted.aspect(phrase)
    hint = detokenize("critique", 1, hint_words([(aspect, sign)])) if sign else None
    prompts = [
        compact(planted, rank_prompt(planted, planted.session(seed, candidates=40), hint))
        for seed in range(SESSIONS)
    ]
    orders = rank_candidates(model, prompts, GREEDY * SESSIONS)
    found_at = []
    for prompt, order in zip(prompts, orders, strict=True):
        shown = listed(planted, prompt)
        holds = [aspect.scores[shown[index]] > 0 for index in order]
        found_at += [index / 39 for index, held in enumerate(holds) if held]
    return float(np.mean(found_at))


def held_out_loss(model: CatalogModel, planted: Planted) -> float:
    """Divergence from the rule on lists that were not seen, nats."""
    corpus, losses = planted.corpus(), []
    with torch.no_grad():
        for step in range(8):
            corpus.begin_step(10**6 + step)
            losses.append(float(list_loss(model.network, corpus, list_lesson(corpus, 12))))
    return float(np.mean(losses))


def test_rankings_follow_the_rule(films: Planted, taught: CatalogModel) -> None:
    without, with_hint = graded(taught, films).agreement
    assert without > 0.7
    assert with_hint > 0.6


def test_a_network_that_knows_nothing_follows_neither_rule_nor_hint(films: Planted) -> None:
    nothing = blank(films)
    found = graded(nothing, films)
    assert max(map(abs, found.agreement)) < 0.2
    shifts = [shift(nothing, films, a.phrase) for a in films.aspects]
    assert abs(np.mean(shifts)) < 0.05


def test_training_teaches_more_than_the_network_starts_with(
    films: Planted, taught: CatalogModel
) -> None:
    assert held_out_loss(taught, films) < 0.8 * held_out_loss(films.untrained(), films)


def test_noise_teaches_nothing(films: Planted, taught: CatalogModel, tmp_path: Path) -> None:
    noise = replace(
        films, teacher=NoiseTeacher(films.features, films.aspects, films.teacher.weights)
    )
    fooled, losses = noise.trained(tmp_path, replace(RANKING_PLAN, steps=40))
    # Its own lessons stay as hard as guessing, and it loses what it could do before.
    assert held_out_loss(fooled, films) > 1.2 * held_out_loss(taught, films)
    assert sum(graded(fooled, films).agreement) < sum(graded(taught, films).agreement) - 0.1
    assert all(np.isfinite(losses))


def test_every_hint_moves_its_holders_up(films: Planted, taught: CatalogModel) -> None:
    learnt = {a.phrase: shift(taught, films, a.phrase) for a in films.aspects}
    assert min(learnt.values()) > 0.03, learnt
    assert np.mean(list(learnt.values())) > 0.2


def test_a_model_learns_from_titles_alone(
    titles: Planted, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan = replace(RANKING_PLAN, steps=60)
    taught, losses = titles.trained(tmp_path_factory.mktemp("titles"), plan)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert min(graded(taught, titles).agreement) > 0.6
    assert np.mean([shift(taught, titles, aspect.phrase) for aspect in titles.aspects]) > 0.15


def test_texts_about_the_target_are_true(films: Planted, writer: CatalogModel) -> None:
    chat = CatalogChatModel(catalog_model=writer)
    named: list[float] = []
    for seed in range(20):
        session = films.session(seed)
        target = films.catalog.index[str(session.target)]
        hints = parse_lines(chat.invoke(text_prompt("hints", films, session)).text, 3)
        assert 1 <= len(hints) <= 3
        said = " ".join(hints).casefold()
        named += [float(a.scores[target]) for a in films.aspects if a.phrase in said]
    assert len(named) > 20
    # Scores are standardised: what is said by chance has a mean of 0.
    assert np.mean(named) > 0.7


def test_texts_can_be_parsed(films: Planted, writer: CatalogModel) -> None:
    chat = CatalogChatModel(catalog_model=writer)
    phrases = [aspect.phrase for aspect in films.aspects]
    in_form = dict.fromkeys(TEXT_TASKS, 0)
    for seed in range(10):
        said = {
            name: chat.invoke(text_prompt(name, films, films.session(seed))).text
            for name in TEXT_TASKS
        }
        in_form["critique"] += said["critique"].startswith("The predictions lean to ")
        in_form["diagnose"] += said["diagnose"].startswith("The target has more: ")
        in_form["hints"] += all(
            line.startswith("Prefer ") for line in parse_lines(said["hints"], 3)
        )
        stated = parse_preference(said["preference"], factors(films))
        in_form["preference"] += bool(stated)
        question = parse_question(said["question"])
        in_form["question"] += question.startswith("Do you prefer ") and any(
            phrase in question for phrase in phrases
        )
    assert sum(in_form.values()) >= 30, in_form


def test_an_examination_is_within_bounds_and_ranks_models(
    films: Planted, taught: CatalogModel
) -> None:
    better, worse = graded(taught, films), graded(blank(films), films)
    for found in (better, worse):
        assert (found.prompts, found.candidates) == (48, 24)
        shares = (
            found.candidate_first,
            found.same_first,
            found.written_overlap,
            found.written_distinct,
        )
        assert all(0 <= share <= 1 for share in shares)
        assert [grade.phrase for grade in found.hints] == [a.phrase for a in films.aspects]
        assert all(-1 <= grade.with_property <= 1 for grade in found.hints)
        # The rule itself follows every hint.
        assert all(grade.rule > 0.3 for grade in found.hints)
    assert better.same_first > worse.same_first + 0.2
    mean = [float(np.mean([g.with_property for g in found.hints])) for found in (better, worse)]
    assert mean[0] > 0.4 > 0.15 > abs(mean[1])
    assert graded(taught, films) == better
