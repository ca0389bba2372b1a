from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.catalog import Catalog, Item
from agentrec.data import Dataset, Negatives, item_counts, with_candidates
from agentrec.data.negatives import draw_negatives, sampling_weights, with_other_candidates
from agentrec.errors import InputError
from agentrec.sessions import Session

MakeDataset = Callable[..., Dataset]

WAYS: tuple[Negatives, ...] = ("popularity", "uniform")


def every_session(dataset: Dataset) -> dict[str, Session]:
    return {s.session_id: s for _, sessions in dataset.splits() for s in sessions}


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    num_items = draw(st.integers(8, 120))
    ids = [str(n) for n in range(num_items)]
    sessions = []
    for number in range(draw(st.integers(3, 12))):
        *items, target = draw(st.lists(st.sampled_from(ids), min_size=2, max_size=7))
        sessions.append(Session(session_id=f"s{number}", items=tuple(items), target=target))
    return Dataset(
        name="drawn",
        catalog=Catalog(Item(item_id=i, title=f"Item {i}") for i in ids),
        train=tuple(sessions[:-2]),
        valid=(sessions[-2],),
        test=(sessions[-1],),
    )


@given(datasets(), st.sampled_from(WAYS), st.integers(0, 5))
def test_candidates_are_the_target_and_different_items_that_are_new(
    dataset: Dataset, negatives: Negatives, seed: int
) -> None:
    for session in every_session(with_candidates(dataset, negatives, seed)).values():
        drawn = [item_id for item_id in session.candidates if item_id != session.target]
        assert session.target in session.candidates
        assert len(set(session.candidates)) == len(session.candidates) == len(drawn) + 1
        assert not set(drawn) & set(session.items)
        known = {*session.items, session.target}
        assert len(drawn) == min(49, len(dataset.catalog) - len(known))


@given(datasets(), st.sampled_from(WAYS), st.integers(0, 5))
def test_a_sessions_candidates_depend_on_the_seed_and_itself_only(
    dataset: Dataset, negatives: Negatives, seed: int
) -> None:
    first = every_session(with_candidates(dataset, negatives, seed))
    turned = replace(
        dataset, train=dataset.train[::-1], valid=dataset.test, test=dataset.valid, name="other"
    )
    assert every_session(with_candidates(turned, negatives, seed)) == first


def test_another_seed_gives_other_candidates(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    first, second = (every_session(with_candidates(dataset, "uniform", seed)) for seed in (0, 1))
    assert all(set(first[i].candidates) != set(second[i].candidates) for i in first)


def test_the_draw_is_the_same_on_every_machine(make_dataset: MakeDataset) -> None:
    session = with_candidates(make_dataset(num_items=30), "popularity", 7).test[0]
    assert session.candidates[:6] == ("23", "22", "26", "17", "3", "14")


def test_the_target_has_any_index(make_dataset: MakeDataset) -> None:
    dataset = with_candidates(make_dataset(num_train=400))
    indices = [s.candidates.index(str(s.target)) for s in every_session(dataset).values()]
    # Uniform over 50 indices: mean 24.5, standard error 0.72 over 404 sessions.
    assert abs(np.mean(indices) - 24.5) < 4 * 0.72
    assert len(set(indices)) > 40


def test_given_candidates_are_left_as_they_are(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    own = dataset.train[0].model_copy(update={"candidates": ("100", str(dataset.train[0].target))})
    dataset = replace(dataset, train=(own, *dataset.train[1:]))
    completed = with_candidates(dataset)
    assert completed.train[0] is own
    assert all(s.candidates for s in every_session(completed).values())
    assert with_candidates(completed, "uniform", 3) == completed


def test_counts_hold_histories_and_targets_in_catalogue_order() -> None:
    catalog = Catalog(Item(item_id=i, title=i) for i in "abcd")
    sessions = [
        Session(session_id="1", items=("a", "b", "a"), target="d"),
        Session(session_id="2", items=("b",)),
    ]
    assert item_counts(sessions, catalog).tolist() == [2, 2, 0, 1]


def test_popularity_is_counted_in_train_only(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(num_items=500, num_train=30)
    seen = {i for s in dataset.train for i in (*s.items, s.target)}
    assert len(seen) > 60
    for session in every_session(with_candidates(dataset, "popularity")).values():
        assert set(session.candidates) - {session.target} <= seen


def test_items_without_weight_come_last_and_only_if_needed() -> None:
    weights = np.array([0.0, 2.0, 0.0, 1.0, 0.0])
    for seed in range(20):
        drawn = draw_negatives(weights, [1], 3, np.random.default_rng(seed)).tolist()
        assert drawn[0] == 3
        assert set(drawn[1:]) < {0, 2, 4}
        assert len(drawn) == 3
        assert draw_negatives(weights, [1], 1, np.random.default_rng(seed)).tolist() == [3]


def test_the_first_draw_is_in_proportion_to_count_to_the_three_quarters() -> None:
    counts = np.array([1, 2, 5, 10, 40, 0])
    weights = sampling_weights(counts, "popularity")
    generator = np.random.default_rng(1)
    draws = 20_000
    first = [draw_negatives(weights, [], 1, generator)[0] for _ in range(draws)]
    expected = counts**0.75 / np.sum(counts**0.75)
    found = np.bincount(first, minlength=len(counts)) / draws
    # 5 standard errors of a share over 20,000 draws are at most 0.018.
    assert np.all(np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws))


def test_later_draws_are_in_proportion_to_the_weights_that_are_left() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    generator = np.random.default_rng(2)
    draws = 20_000
    pairs = [tuple(draw_negatives(weights, [], 2, generator)) for _ in range(draws)]
    # First item 2 (3/6), then item 1 rather than 0 (2/3).
    assert pairs.count((2, 1)) / draws == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / draws))


def test_uniform_draws_ignore_counts() -> None:
    assert sampling_weights(np.array([0, 9, 3]), "uniform").tolist() == [1, 1, 1]


def test_unknown_negatives_are_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(InputError, match="one of popularity, uniform") as caught:
        with_candidates(make_dataset(), "hard")  # type: ignore[arg-type]
    assert caught.value.field == "negatives"


def test_a_session_that_leaves_nothing_to_draw_is_named(make_dataset: MakeDataset) -> None:
    with pytest.raises(InputError, match=r"session 's0' leaves none of the 4 items") as caught:
        with_candidates(make_dataset(num_items=4))
    assert caught.value.field == "candidates"


@pytest.mark.parametrize("negatives", ["popularity", "uniform"])
def test_another_draw_holds_the_same_sessions_with_other_negatives(
    make_dataset: MakeDataset, negatives: Negatives
) -> None:
    dataset = with_candidates(make_dataset(num_items=400), negatives, 3)
    sessions = (*dataset.valid, *dataset.train)
    none, one, two, again = (
        with_other_candidates(sessions, dataset, negatives, 3, draw) for draw in (0, 1, 2, 1)
    )
    assert none == sessions
    assert one == again
    for first, second, third in zip(none, one, two, strict=True):
        assert len({frozenset(s.candidates) for s in (first, second, third)}) == 3
        for other in (second, third):
            assert other.model_copy(update={"candidates": first.candidates}) == first
            assert len(other.candidates) == len(first.candidates)
            assert other.target in other.candidates
            assert not set(other.items) & set(other.candidates) - {other.target}


def test_a_later_draw_differs_from_the_first_draw_of_any_seed(make_dataset: MakeDataset) -> None:
    dataset = with_candidates(make_dataset(), "uniform", 0)
    drawn = with_other_candidates(dataset.test, dataset, "uniform", 0, 1)
    for seed in range(5):
        assert with_candidates(make_dataset(), "uniform", seed).test != drawn


def test_candidates_of_the_data_are_not_redrawn(make_dataset: MakeDataset) -> None:
    given = make_dataset()
    own = given.train[0].model_copy(update={"candidates": ("100", str(given.train[0].target))})
    dataset = with_candidates(replace(given, train=(own, *given.train[1:])))
    with pytest.raises(InputError, match="candidates of session 's0' came with the data") as caught:
        with_other_candidates(dataset.train, dataset, "popularity", 0, 1)
    assert caught.value.field == "candidates"
    with pytest.raises(InputError, match="came with the data"):
        with_other_candidates(dataset.train[1:], dataset, "popularity", 1, 1)
