from __future__ import annotations

import pytest
import torch
from embedded_model.planted import Planted

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.ranking_lessons import (
    SOFTNESS,
    choosing_loss,
    list_lesson,
    list_loss,
    prompt_rows,
)
from agentrec.embedded_model.vocabulary import ANSWER, CANDIDATES_AT, MAX_CANDIDATES, NONE


@pytest.fixture
def corpus(films: Planted) -> Corpus:
    return films.corpus()


def test_prompts_show_what_was_drawn(films: Planted, corpus: Corpus) -> None:
    asked, pool = corpus.sample(40), corpus.distinct(40, 7)
    ids, first = films.vocabulary.ids, films.vocabulary.first_item
    for row, tokens in enumerate(prompt_rows(corpus, asked, pool)):
        length = int(asked.lengths[row])
        shown = [token for token in tokens[2:12] if token != ids[NONE]]
        assert shown == (asked.histories[row, :length] + first).tolist()
        candidates = tokens[CANDIDATES_AT : CANDIDATES_AT + 7]
        assert candidates == (pool[row] + first).tolist()
        hint = asked.hints[row]
        behind = [ids["<hint>"], *hint] if hint else []
        assert tokens[CANDIDATES_AT + 7 :] == [*behind, ids[ANSWER]]


def test_lists_name_candidates_by_their_handles_each_once(films: Planted, corpus: Corpus) -> None:
    mark = films.vocabulary.ids[ANSWER]
    for step in range(20):
        corpus.begin_step(step)
        lesson = list_lesson(corpus, 8)
        size = lesson.scores.shape[1]
        assert int((lesson.offsets + size).max()) <= MAX_CANDIDATES
        for row, at in enumerate(lesson.answer_at.tolist()):
            tokens = lesson.tokens[row].tolist()
            assert tokens[at] == mark
            behind = tokens[at + 1 : at + 1 + 2 * lesson.written.shape[1]]
            assert behind[1::2] == [mark] * lesson.written.shape[1]
            indices = [t - films.vocabulary.first_handle for t in behind[::2]]
            indices = [index - int(lesson.offsets[row]) for index in indices]
            assert indices == lesson.written[row].tolist()
            assert len(set(indices)) == len(indices)
            # A candidate stands where its handle belongs.
            position = lesson.positions[row, CANDIDATES_AT + indices[0]]
            assert int(position) == CANDIDATES_AT + indices[0] + int(lesson.offsets[row])


def test_lists_are_nearly_in_the_rules_order(corpus: Corpus) -> None:
    ranks = []
    for step in range(30):
        corpus.begin_step(step)
        lesson = list_lesson(corpus, 8)
        order = lesson.scores.argsort(dim=1, descending=True).argsort(dim=1)
        ranks.append(order.gather(1, lesson.written[:, :1]).float().mean() / order.shape[1])
    assert sum(ranks) / len(ranks) < 0.12


def test_the_list_loss_covers_the_first_choice(films: Planted, corpus: Corpus) -> None:
    """Against the plainest computation of the same: the whole network, one row at a time."""
    network = films.network()
    lesson = list_lesson(corpus, 3)
    vocabulary, size = films.vocabulary, lesson.scores.shape[1]
    with torch.no_grad():
        whole = float(list_loss(network, corpus, lesson))
        first = 0.0
        for row, at in enumerate(lesson.answer_at.tolist()):
            logits = network(
                input_ids=lesson.tokens[row : row + 1, : at + 1],
                position_ids=lesson.positions[row : row + 1, : at + 1],
            ).logits[0, -1]
            start = vocabulary.first_handle + int(lesson.offsets[row])
            # Items are sampled in training, so only a bound can be had without them.
            among = logits[: vocabulary.first_item].logsumexp(-1)
            labels = (lesson.scores[row] / SOFTNESS).softmax(-1)
            own = logits[start : start + size] - among
            first += float((labels * (labels.clamp(min=1e-30).log() - own)).sum()) / 3
    assert 0 < 0.5 * first <= whole


def test_losses_repeat_and_reach_the_layers_they_teach(films: Planted, corpus: Corpus) -> None:
    network = films.network()
    values = []
    for _ in range(2):
        corpus.begin_step(5)
        values.append(float(choosing_loss(network, corpus, 8, 2, 8).detach()))
    assert values[0] == values[1] > 0
    corpus.begin_step(5)
    choosing_loss(network, corpus, 8, 2, 8).backward()
    first, second = network.transformer.h
    assert first.attn.c_attn.weight.grad.abs().sum() > 0
    assert second.attn.c_attn.weight.grad.abs().sum() > 0
    network.zero_grad(set_to_none=True)
    corpus.begin_step(5)
    list_loss(network, corpus, list_lesson(corpus, 4)).backward()
    for layer in (first.mlp.c_fc, second.attn.c_proj, second.mlp.c_fc):
        assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_catalogues_have_finite_losses(size: int) -> None:
    planted = Planted.of(Catalog(Item(item_id=str(n), title=f"Q{n}") for n in range(size)))
    network, corpus = planted.network(), planted.corpus()
    for loss in (
        choosing_loss(network, corpus, 4, 2, 32),
        list_loss(network, corpus, list_lesson(corpus, 4)),
    ):
        assert torch.isfinite(loss)
