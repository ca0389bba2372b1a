from __future__ import annotations

import pytest
import torch
from embedded_model.planted import Planted

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.ranking_lessons import list_lesson
from agentrec.embedded_model.teaching.text_lessons import text_lesson
from agentrec.embedded_model.text_grammar import known_words
from agentrec.llm.prompts.session_view import HISTORY_LENGTH


@pytest.fixture(scope="module")
def large() -> Planted:
    """Enough items for the quicker way of drawing distinct ones."""
    return Planted.of(
        Catalog(
            Item(item_id=f"i{n}", title=f"Word{n % 7} thing{n}", attributes={"k": f"v{n % 4}"})
            for n in range(700)
        )
    )


def draw(corpus: Corpus, step: int) -> list[torch.Tensor]:
    corpus.begin_step(step)
    lesson = list_lesson(corpus, 16)
    return [lesson.tokens, lesson.offsets, lesson.scores, lesson.written, *text_lesson(corpus, 16)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[bool]:
    return [a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("name", ["films", "large"])
def test_histories_are_distinct_items_of_valid_length(
    name: str, request: pytest.FixtureRequest
) -> None:
    planted: Planted = request.getfixturevalue(name)
    items, lengths = planted.corpus().histories(400)
    assert items.shape == (400, HISTORY_LENGTH)
    assert 0 <= int(items.min()) <= int(items.max()) < len(planted.catalog)
    assert all(len(set(row)) == HISTORY_LENGTH for row in items.tolist())
    assert set(lengths.tolist()) == set(range(1, HISTORY_LENGTH + 1))
    assert 0.45 < float((lengths == HISTORY_LENGTH).float().mean()) < 0.65
    assert len(items.unique()) > 0.9 * min(len(planted.catalog), 400)


def test_histories_hold_similar_items(films: Planted) -> None:
    items, _ = films.corpus().histories(400)
    text = torch.from_numpy(films.features.text)
    within = (text[items[:, :5]] * text[items[:, 5:]]).sum(-1).mean()
    shuffled = items[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    across = (text[items[:, :5]] * text[shuffled[:, 5:]]).sum(-1).mean()
    assert within > across + 0.05


def test_a_seed_and_a_step_give_the_same_batch_whatever_was_drawn_before(films: Planted) -> None:
    one, other = films.corpus(), films.corpus()
    first = draw(one, 3)
    draw(other, 9)
    other.histories(5)
    assert all(same(first, draw(other, 3)))
    assert all(same(first, draw(one, 3)))
    assert not any(same(first, draw(one, 4)))
    assert not any(same(first, draw(films.corpus(seed=1), 3)))


@pytest.mark.parametrize("name", ["films", "large"])
@pytest.mark.parametrize("size", [1, 12, 51])
def test_drawn_items_are_distinct_and_every_item_is_drawn(
    name: str, size: int, request: pytest.FixtureRequest
) -> None:
    planted: Planted = request.getfixturevalue(name)
    corpus = planted.corpus()
    drawn = torch.cat([corpus.distinct(100, size) for _ in range(5)])
    assert all(len(set(row)) == size for row in drawn.tolist())
    counts = drawn.flatten().bincount(minlength=len(planted.catalog))
    expected = drawn.numel() / len(planted.catalog)
    assert len(counts) == len(planted.catalog)
    assert (counts[:40].sum() / 40 / expected).item() == pytest.approx(1, abs=0.4)


def test_hints_say_what_they_want(films: Planted) -> None:
    corpus = films.corpus()
    asked = corpus.sample(300)
    known = {aspect.token: index for index, aspect in enumerate(films.aspects)}
    names = [*films.vocabulary.ids]
    unhinted = 0
    for wanted, hint in zip(asked.wanted, asked.hints, strict=True):
        words = [names[token] for token in hint]
        unhinted += not words
        said = {known[word] for word in words if word in known}
        assert said == set(wanted.nonzero().flatten().tolist())
        if {"avoid", "less", "not"} & set(words):
            assert wanted.min() == -1
        else:
            assert wanted.min() == 0
        assert known_words(" ".join(words).replace("_", " "), films.vocabulary.ids) == words
    assert 60 < unhinted < 180


def test_scores_are_the_rules_own(films: Planted) -> None:
    corpus = films.corpus()
    asked = corpus.sample(20)
    pool = corpus.distinct(20, 9)
    by_hand = films.teacher.base_scores(asked.histories, asked.lengths, pool) + (
        1.5 * torch.einsum("ba,bna->bn", asked.wanted, films.teacher.profile(pool))
    )
    assert torch.allclose(corpus.scores(asked, pool), by_hand, atol=1e-4)


def test_rows_are_padded_at_the_end(films: Planted) -> None:
    corpus = films.corpus()
    assert corpus.padded([[5], [6, 7, 8]]).tolist() == [[5, 0, 0], [6, 7, 8]]
    assert corpus.padded([[5], [6, 7]], -100).tolist() == [[5, -100], [6, 7]]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_catalogues_without_aspects_still_give_lessons(size: int) -> None:
    planted = Planted.of(Catalog(Item(item_id=str(n), title=f"Q{n}") for n in range(size)))
    assert planted.aspects == ()
    corpus = planted.corpus()
    lesson = list_lesson(corpus, 8)
    assert lesson.scores.shape == (8, size)
    assert torch.isfinite(lesson.scores).all()
    # So many that every kind of text is among them.
    tokens, labels = text_lesson(corpus, 64)
    assert tokens.shape == labels.shape
