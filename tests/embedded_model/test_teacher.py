import numpy as np
import pytest
import torch
from embedded_model.planted import Planted

from agentrec.data.item_features import Category, ItemFeatures
from agentrec.embedded_model.teaching.teacher import RuleWeights, Teacher

ALL = torch.arange(80)[None]


def row(*indices: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([indices]), torch.tensor([len(indices)])


def three_directions(category: Category | None = None) -> ItemFeatures:
    text = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    return ItemFeatures(text, () if category is None else (category,), ())


def test_similarity_is_weighted_by_recency_as_by_hand() -> None:
    teacher = Teacher(three_directions(), (), RuleWeights(text=2.0, recency=0.5))
    items = torch.tensor([[0, 1, 2]])
    scores = teacher.base_scores(*row(0, 1), items)[0]
    # The history is 0 then 1: weights 1/3 and 2/3, and 2 is like neither.
    # Standardising is one shift and one scale, so ratios of differences stay.
    assert scores.argsort(descending=True).tolist() == [1, 0, 2]
    assert float((scores[1] - scores[0]) / (scores[0] - scores[2])) == pytest.approx(1.0, rel=1e-4)
    three = teacher.base_scores(*row(2, 0, 1), items)[0]
    # Weights 1/7, 2/7, 4/7 of the items 2, 0, 1.
    assert float((three[1] - three[0]) / (three[0] - three[2])) == pytest.approx(2.0, rel=1e-4)


def test_padding_after_a_history_is_ignored(films: Planted) -> None:
    padded = torch.tensor([[4, 9, 0, 0, 0], [4, 9, 33, 71, 5]])
    short = films.teacher.base_scores(padded, torch.tensor([2, 2]), ALL.expand(2, -1))
    assert torch.equal(short[0], short[1])
    assert torch.allclose(short[:1], films.teacher.base_scores(*row(4, 9), ALL), atol=1e-5)


def test_a_category_may_be_called_text() -> None:
    member = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    scores = [
        Teacher(three_directions(Category(name, ("x", "y"), member, member)), (), RuleWeights())
        .base_scores(*row(0, 1), torch.tensor([[0, 1, 2]]))
        .tolist()
        for name in ("text", "kind")
    ]
    assert scores[0] == scores[1]


def test_the_rule_ignores_numbers_without_a_hint(films: Planted) -> None:
    without = ItemFeatures(films.features.text, films.features.categories, ())
    other = Teacher(without, films.aspects, RuleWeights())
    assert torch.equal(
        other.base_scores(*row(1, 2, 3), ALL), films.teacher.base_scores(*row(1, 2, 3), ALL)
    )


def test_each_wanted_property_raises_or_lowers_its_holders_by_the_hint_weight(
    films: Planted,
) -> None:
    history = row(1, 2, 3)
    base = films.teacher.base_scores(*history, ALL)
    none = torch.zeros((1, len(films.aspects)))
    assert torch.equal(films.teacher.hinted_scores(none, *history, ALL), base)
    for index, aspect in enumerate(films.aspects):
        for sign in (1, -1):
            wanted = none.clone()
            wanted[0, index] = sign
            added = (films.teacher.hinted_scores(wanted, *history, ALL) - base)[0].numpy()
            assert np.allclose(added, sign * 1.5 * aspect.scores, atol=1e-4), aspect.phrase
            holders = aspect.scores > 0
            assert (added[holders] * sign > 0).all()
            assert (added[~holders] * sign <= 1e-6).all()


def test_hints_add_up(films: Planted) -> None:
    history = row(5, 6)
    eye = torch.eye(len(films.aspects))
    ask = [films.teacher.hinted_scores(eye[a : a + 1], *history, ALL) for a in (0, 7)]
    both = films.teacher.hinted_scores(eye[:1] + eye[7:8], *history, ALL)
    base = films.teacher.base_scores(*history, ALL)
    assert torch.allclose(both - base, ask[0] - base + ask[1] - base, atol=1e-4)


def test_a_batch_equals_its_rows(films: Planted) -> None:
    generator = torch.Generator().manual_seed(1)
    histories = torch.randint(80, (16, 10), generator=generator)
    lengths = torch.randint(1, 11, (16,), generator=generator)
    items = torch.randint(80, (16, 12), generator=generator)
    wanted = torch.randint(-1, 2, (16, len(films.aspects)), generator=generator).float()
    together = films.teacher.hinted_scores(wanted, histories, lengths, items)
    for n in range(16):
        one = slice(n, n + 1)
        alone = films.teacher.hinted_scores(wanted[one], histories[one], lengths[one], items[one])
        assert torch.allclose(alone, together[one], atol=1e-4)


def test_units_are_standard_deviations(films: Planted) -> None:
    generator = torch.Generator().manual_seed(5)
    histories = torch.randint(80, (500, 10), generator=generator)
    lengths = torch.randint(1, 11, (500,), generator=generator)
    scores = Teacher(films.features, (), RuleWeights(text=1, category=0)).base_scores(
        histories, lengths, torch.randint(80, (500, 30), generator=generator)
    )
    assert float(scores.mean()) == pytest.approx(0, abs=0.15)
    assert float(scores.std()) == pytest.approx(1, abs=0.15)


def test_profiles_are_the_aspects_scores(films: Planted) -> None:
    profile = films.teacher.profile(torch.tensor([[3, 4], [5, 6]]))
    assert profile.shape == (2, 2, len(films.aspects))
    assert profile[1, 0].tolist() == [float(aspect.scores[5]) for aspect in films.aspects]
