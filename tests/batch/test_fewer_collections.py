from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from agentrec.batch.fewer_collections import fewer_collections


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_searches_are_seldom_meanwhile_and_as_before_afterwards() -> None:
    gc.set_threshold(700, 10, 10)
    gc.unfreeze()
    with fewer_collections():
        assert gc.get_threshold() == (100_000, 10, 10)
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


def fail() -> None:
    with fewer_collections():
        raise ZeroDivisionError


def test_a_failure_leaves_all_as_before() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [0, 1_000_000])
def test_who_searches_even_less_goes_on_so(own: int) -> None:
    gc.set_threshold(own, 10, 10)
    with fewer_collections():
        assert gc.get_threshold() == (own, 10, 10)
    assert gc.get_threshold() == (own, 10, 10)


def test_what_somebody_else_left_out_stays_out() -> None:
    gc.freeze()
    with fewer_collections():
        pass
    assert gc.get_freeze_count() > 0


def test_cycles_do_not_pile_up_without_end() -> None:
    class Ring:
        alive = 0

        def __init__(self) -> None:
            self.itself = self
            Ring.alive += 1

        def __del__(self) -> None:
            Ring.alive -= 1

    with fewer_collections():
        for _ in range(300_000):
            Ring()
            assert Ring.alive < 150_000
