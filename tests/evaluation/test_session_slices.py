import numpy as np
import pytest

from agentrec.evaluation.session_slices import adjusted_p_values, standard_slices


def test_history_lengths_make_quartiles_named_for_what_is_in_them() -> None:
    lengths = np.repeat(np.arange(1, 9), 10)
    slices = standard_slices(history_lengths=lengths)
    assert list(slices) == [
        "history: 1 to 2 items",
        "history: 3 to 4 items",
        "history: 5 to 6 items",
        "history: 7 to 8 items",
    ]
    assert np.stack(list(slices.values())).sum(axis=0).tolist() == [1] * 80
    assert np.array_equal(slices["history: 3 to 4 items"], (lengths == 3) | (lengths == 4))


def test_where_most_lengths_are_equal_there_are_fewer_parts() -> None:
    slices = standard_slices(history_lengths=np.array([1] * 60 + [2] * 20 + [5] * 20))
    assert list(slices) == ["history: 1 item", "history: 2 items", "history: 5 items"]


def test_what_no_hint_did_splits_the_sessions_in_three() -> None:
    ndcg = np.repeat([0.0, 0.3, 0.6309, 1.0], 10).astype(np.float32)
    slices = standard_slices(no_hint_ndcg=ndcg)
    assert [int(mask.sum()) for mask in slices.values()] == [10, 20, 10]
    assert np.array_equal(slices["no hint: target first"], ndcg == 1)
    assert np.array_equal(slices["no hint: target not listed"], ndcg == 0)


def test_categories_may_overlap() -> None:
    of = np.zeros((40, 3), dtype=bool)
    of[:15, 0] = of[10:30, 1] = True
    slices = standard_slices(categories=of, category_names=["war", "love", "none"])
    assert list(slices) == ["category: war", "category: love"]
    assert np.array_equal(slices["category: love"], of[:, 1])


def test_small_slices_are_left_out_and_so_is_everybody() -> None:
    of = np.ones((40, 3), dtype=bool)
    of[9:, 0] = of[10:, 1] = False
    slices = standard_slices(categories=of, category_names=["nine", "ten", "all"])
    assert list(slices) == ["category: ten"]
    less = standard_slices(categories=of, category_names=["nine", "ten", "all"], least_sessions=9)
    assert list(less) == ["category: nine", "category: ten"]
    assert standard_slices(history_lengths=np.full(50, 3)) == {}
    assert standard_slices(history_lengths=np.zeros(0, dtype=int)) == {}
    assert standard_slices() == {}


def test_shapes_and_names_have_to_fit() -> None:
    with pytest.raises(ValueError, match="by 1 names"):
        standard_slices(categories=np.ones((4, 2), bool), category_names=["a"])
    with pytest.raises(ValueError, match="by 1 names"):
        standard_slices(category_names=["a"])
    with pytest.raises(ValueError, match="one name"):
        standard_slices(categories=np.ones((4, 2), bool), category_names=["a", "a"])
    with pytest.raises(ValueError, match="same sessions"):
        standard_slices(history_lengths=np.arange(30), no_hint_ndcg=np.zeros(20))


def test_of_noise_one_in_twenty_has_a_slice_below_a_twentieth() -> None:
    found = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values = generator.standard_t(3, 120)
        masks = [generator.random(120) < share for share in np.linspace(0.1, 0.8, 10)]
        found += min(adjusted_p_values(values, masks, seed=seed, permutations=200)) <= 0.05
    # Mean 10, deviation 3.1; without allowing for ten slices it would be near 70.
    assert 1 <= found <= 20


def test_a_slice_that_differs_has_a_small_p_value_also_if_it_is_below_the_rest() -> None:
    generator = np.random.default_rng(1)
    values, mask = generator.normal(0, 1, 200), generator.random(200) < 0.2
    other = generator.random(200) < 0.5
    for shift in (1.5, -1.5):
        p_values = adjusted_p_values(values + shift * mask, [other, mask], seed=0)
        assert p_values[1] < 0.001
        assert p_values[0] > 0.01


def test_the_same_slice_is_less_certain_among_many() -> None:
    generator = np.random.default_rng(2)
    values, mask = generator.normal(0, 1, 200), generator.random(200) < 0.3
    values += 0.45 * mask
    many = [mask, *(generator.random(200) < 0.3 for _ in range(20))]
    (alone,) = adjusted_p_values(values, [mask], seed=0)
    assert alone < 0.5 * adjusted_p_values(values, many, seed=0)[0]


def test_where_nothing_can_differ_the_p_value_is_1() -> None:
    half = np.arange(20) < 10
    everyone = np.ones(20, dtype=bool)
    assert adjusted_p_values(np.full(20, 0.3), [half], seed=0) == [1.0]
    assert adjusted_p_values(np.arange(20.0), [everyone], seed=0) == [1.0]
    assert adjusted_p_values(np.arange(20.0), [], seed=0) == []


def test_large_batches_are_dealt_in_parts_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    values, mask = generator.normal(0, 1, 50), np.arange(50) < 20
    whole = adjusted_p_values(values, [mask], seed=0, permutations=300)
    monkeypatch.setattr("agentrec.evaluation.session_slices._NUMBERS_AT_ONCE", 350)
    assert adjusted_p_values(values, [mask], seed=0, permutations=300) == whole
