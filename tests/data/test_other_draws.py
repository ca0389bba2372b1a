from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agentrec.data import Dataset, Negatives, with_candidates
from agentrec.data.negatives import with_other_candidates
from agentrec.errors import InputError

MakeDataset = Callable[..., Dataset]


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


def test_a_later_draw_is_no_other_seeds_first(make_dataset: MakeDataset) -> None:
    dataset = with_candidates(make_dataset(), "uniform", 0)
    drawn = with_other_candidates(dataset.test, dataset, "uniform", 0, 1)
    for seed in range(5):
        assert with_candidates(make_dataset(), "uniform", seed).test != drawn


def test_candidates_that_came_with_the_data_are_not_drawn_anew(make_dataset: MakeDataset) -> None:
    given = make_dataset()
    own = given.train[0].model_copy(update={"candidates": ("100", str(given.train[0].target))})
    dataset = with_candidates(replace(given, train=(own, *given.train[1:])))
    with pytest.raises(InputError, match="candidates of session 's0' came with the data") as caught:
        with_other_candidates(dataset.train, dataset, "popularity", 0, 1)
    assert caught.value.field == "candidates"
    with pytest.raises(InputError, match="came with the data"):
        with_other_candidates(dataset.train[1:], dataset, "popularity", 1, 1)
