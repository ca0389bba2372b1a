"""What was taught is there after training, and is not there before."""

import numpy as np
import pytest
from llm.catalog_lm.planted import (
    PLAN,
    Planted,
    rank_prompt,
    text_prompt,
)

from agentrec.llm.catalog_lm.card import agreement_with_rule
from agentrec.llm.catalog_lm.folder import CatalogModel
from agentrec.llm.catalog_lm.generation import Sampling, rank_candidates, write_words
from agentrec.llm.catalog_lm.reading import CompactPrompt, read_prompt
from agentrec.llm.catalog_lm.wording import hint_words, sentences
from agentrec.llm.prompts import PromptName

SESSIONS = 12
GREEDY = [Sampling()]


def places_of_holders(model: CatalogModel, planted: Planted, phrase: str, sign: int) -> float:
    """Mean place, 0 (first) to 1, of the candidates that have a property; sign 0 for no hint."""
    aspect = planted.aspect(phrase)
    hint = sentences(hint_words([(aspect, sign)])) if sign else None
    prompts = []
    for seed in range(SESSIONS):
        found = read_prompt(
            rank_prompt(planted, planted.session(seed, candidates=40), hint), model.vocabulary
        )
        assert found is not None
        prompts.append(found)
    orders = rank_candidates(model, prompts, GREEDY * SESSIONS)
    found_at = []
    for prompt, order in zip(prompts, orders, strict=True):
        holds = [aspect.scores[prompt.candidates[place]] > 0 for place in order]
        found_at += [place / 39 for place, held in enumerate(holds) if held]
    return float(np.mean(found_at))


def shift(model: CatalogModel, planted: Planted, phrase: str, sign: int = 1) -> float:
    """How far up a hint moves the holders of a property."""
    return places_of_holders(model, planted, phrase, 0) - places_of_holders(
        model, planted, phrase, sign
    )


def test_rankings_follow_the_rule_after_training_and_not_before(
    films: Planted, taught: CatalogModel
) -> None:
    assert abs(agreement_with_rule(films.untrained(), films.corpus(), PLAN)) < 0.2
    assert agreement_with_rule(taught, films.corpus(), PLAN) > 0.7


def test_every_hint_moves_its_holders_up_after_training_and_not_before(
    films: Planted, taught: CatalogModel
) -> None:
    untrained = films.untrained()
    learnt = {a.phrase: shift(taught, films, a.phrase) for a in films.aspects}
    before = {a.phrase: shift(untrained, films, a.phrase) for a in films.aspects}
    assert min(learnt.values()) > 0.08, learnt
    assert np.mean(list(learnt.values())) > 0.2
    assert abs(np.mean(list(before.values()))) < 0.05
    assert min(before.values()) < 0.08, "an untrained network passes"


def test_titles_alone_can_be_taught_too(
    titles: Planted, tmp_path_factory: pytest.TempPathFactory
) -> None:
    taught, losses = titles.trained(tmp_path_factory.mktemp("titles"))
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    assert agreement_with_rule(taught, titles.corpus(), PLAN) > 0.6
    assert abs(agreement_with_rule(titles.untrained(), titles.corpus(), PLAN)) < 0.2
    shifts = [shift(taught, titles, aspect.phrase) for aspect in titles.aspects]
    assert np.mean(shifts) > 0.15


def written(model: CatalogModel, planted: Planted, name: PromptName) -> list[list[str]]:
    prompts: list[CompactPrompt] = []
    for seed in range(40):
        found = read_prompt(text_prompt(name, planted, planted.session(seed)), model.vocabulary)
        assert found is not None
        prompts.append(found)
    return write_words(model, prompts, GREEDY * 40)


def test_written_texts_have_the_taught_form_after_training_and_not_before(
    films: Planted, taught: CatalogModel
) -> None:
    def share_in_form(model: CatalogModel) -> float:
        forms = []
        for words in written(model, films, "hints"):
            shape = " ".join("*" if "_" in word else word for word in words)
            forms.append(shape == "prefer * ; prefer * and * ; prefer * ;")
        for words in written(model, films, "critique"):
            forms.append(words[:4] == ["the", "predictions", "lean", "to"] and words[-1] == ".")
        return float(np.mean(forms))

    assert share_in_form(taught) > 0.9
    assert share_in_form(films.untrained()) == 0
