import pytest
import torch
from llm.catalog_lm.planted import Planted

from agentrec.catalog import Catalog, Item
from agentrec.llm.catalog_lm.corpus import MAX_HISTORY, Corpus
from agentrec.llm.catalog_lm.vocabulary import ANSWER, END, PAD, SECTIONS, TASKS


@pytest.fixture
def corpus(films: Planted) -> Corpus:
    return films.corpus()


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
    batch = corpus.ranking_batch(16, 3, 12)
    return [batch.tokens, batch.answer_at, batch.items, batch.labels, *corpus.text_batch(16)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[bool]:
    return [a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("name", ["films", "large"])
def test_histories_are_distinct_items_of_valid_length(
    name: str, request: pytest.FixtureRequest
) -> None:
    planted: Planted = request.getfixturevalue(name)
    items, lengths = planted.corpus().histories(400)
    assert items.shape == (400, MAX_HISTORY)
    assert 0 <= int(items.min()) <= int(items.max()) < len(planted.catalog)
    assert all(len(set(row)) == MAX_HISTORY for row in items.tolist())
    assert set(lengths.tolist()) == set(range(1, MAX_HISTORY + 1))
    assert 0.45 < float((lengths == MAX_HISTORY).float().mean()) < 0.65
    assert len(items.unique()) > 0.9 * min(len(planted.catalog), 400)


def test_histories_hold_items_that_are_alike(films: Planted) -> None:
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
    assert not any(same(first[2:], draw(one, 4)[2:]))
    assert not any(same(first[2:], draw(films.corpus(seed=1), 3)[2:]))


@pytest.mark.parametrize("name", ["films", "large"])
def test_ranking_labels_are_the_rules_choice(name: str, request: pytest.FixtureRequest) -> None:
    planted: Planted = request.getfixturevalue(name)
    corpus, vocabulary = planted.corpus(), planted.vocabulary
    batch = corpus.ranking_batch(32, 3, 12)
    assert batch.labels.shape == (32, 3, 12)
    assert torch.allclose(batch.labels.sum(-1), torch.ones(32, 3), atol=1e-5)
    assert batch.items.shape == (3, 12)
    assert all(len(set(row)) == 12 for row in batch.items.tolist())
    assert int(batch.items.min()) >= vocabulary.first_item
    history, hint, answer = (vocabulary.ids[m] for m in ("<history>", "<hint>", ANSWER))
    unhinted = 0
    for row in range(32):
        tokens = batch.tokens[row, : batch.answer_at[row] + 1].tolist()
        assert tokens[:2] == [vocabulary.ids["<rank>"], history]
        assert tokens[-1] == answer
        assert (batch.tokens[row, batch.answer_at[row] + 1 :] == vocabulary.ids[PAD]).all()
        if hint in tokens:
            continue
        unhinted += 1
        items = torch.tensor([tokens[2:-1]]) - vocabulary.first_item
        flat = (batch.items - vocabulary.first_item).reshape(1, -1)
        lengths = torch.tensor([items.shape[1]])
        rule = planted.teacher.base_scores(items, lengths, flat).reshape(3, 12)
        expected = (rule / 0.5).softmax(-1)
        assert torch.allclose(batch.labels[row], expected, atol=1e-4)
    assert 0 < unhinted < 32


def test_texts_are_looked_at_from_behind_the_answer_mark_to_the_end_mark(films: Planted) -> None:
    corpus, vocabulary = films.corpus(), films.vocabulary
    ids = vocabulary.ids
    tokens, labels = corpus.text_batch(64)
    assert tokens.shape == labels.shape
    marks = {ids[mark] for mark in (*TASKS, *SECTIONS)}
    seen = set()
    for row, wanted in zip(tokens.tolist(), labels.tolist(), strict=True):
        at = row.index(ids[ANSWER])
        end = row.index(ids[END])
        assert wanted[: at + 1] == [-100] * (at + 1)
        assert wanted[at + 1 : end + 1] == row[at + 1 : end + 1]
        assert wanted[end + 1 :] == [-100] * (len(row) - end - 1)
        assert row[end + 1 :] == [ids[PAD]] * (len(row) - end - 1)
        said = row[at + 1 : end]
        assert said
        assert all(place < vocabulary.first_item and place not in marks for place in said)
        seen.add(row[0])
        # A critique is written without seeing the target; the others see exactly one.
        assert row.count(ids["<target>"]) == (row[0] != ids["<critique>"])
        if row[0] != ids["<critique>"]:
            target = row[row.index(ids["<target>"]) + 1]
            assert target not in row[row.index(ids["<predictions>"]) : row.index(ids["<target>"])]
    assert seen == {ids[task] for task in TASKS if task != "<rank>"}


def test_diagnoses_name_what_the_target_has(films: Planted) -> None:
    vocabulary, ids = films.vocabulary, films.vocabulary.ids
    tokens, _ = films.corpus().text_batch(400)
    names = {ids[aspect.token]: aspect for aspect in films.aspects}
    scores = []
    for row in tokens.tolist():
        if row[0] == ids["<hints>"]:
            target = row[row.index(ids["<target>"]) + 1] - vocabulary.first_item
            asked = [t for t in row[row.index(ids[ANSWER]) :] if t in names]
            scores += [float(names[t].scores[target]) for t in asked]
    assert sum(scores) / len(scores) > 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_catalogues_without_anything_to_ask_for_still_teach(size: int) -> None:
    planted = Planted.of(Catalog(Item(item_id=str(n), title=f"Q{n}") for n in range(size)))
    assert planted.aspects == ()
    corpus = planted.corpus()
    batch = corpus.ranking_batch(8, 2, 32)
    assert batch.items.shape == (2, size)
    assert torch.allclose(batch.labels.sum(-1), torch.ones(8, 2))
    tokens, labels = corpus.text_batch(8)
    assert tokens.shape == labels.shape
