import random

import pytest

from agentrec.evaluation.position_bias import measure_position_bias, target_place
from agentrec.sessions import Session


def outcomes(place: int, hits: int, misses: int) -> list[tuple[int, bool]]:
    return [(place, True)] * hits + [(place, False)] * misses


def test_computed_by_hand() -> None:
    # p1 = 94/199, p3 = 59/198, pooled 153/397: the rates PAPERS reports, z about 3.5.
    rows = outcomes(1, 50, 55) + outcomes(20, 44, 50) + outcomes(25, 3, 7)
    rows += outcomes(31, 30, 70) + outcomes(50, 29, 69)
    places, hits = zip(*rows, strict=True)
    found = measure_position_bias(places, hits)
    assert [(each.first, each.last, each.sessions, each.hits) for each in found.bins] == [
        (1, 20, 199, 94),
        (21, 30, 10, 3),
        (31, 50, 198, 59),
    ]
    assert found.bins[0].hit_rate == pytest.approx(94 / 199)
    # (0.472362 - 0.297980) / sqrt(0.385390 * 0.614610 * (1/199 + 1/198)) = 0.174382 / 0.048853
    assert found.z == pytest.approx(3.5695, abs=5e-4)


def test_the_sign_says_which_end_is_favoured() -> None:
    rows = outcomes(1, 1, 9) + outcomes(40, 9, 1)
    places, hits = zip(*rows, strict=True)
    # p = 1/2: (0.1 - 0.9) / sqrt(0.25 * 0.2)
    assert measure_position_bias(places, hits).z == pytest.approx(-0.8 / 0.05**0.5)


def test_a_fair_ranker_shows_no_bias() -> None:
    lot = random.Random(0)
    places = [lot.randint(1, 50) for _ in range(4_000)]
    found = measure_position_bias(places, [lot.random() < 0.3 for _ in places])
    assert found.z is not None
    assert abs(found.z) < 2.5


def test_z_is_none_where_it_is_not_defined() -> None:
    assert measure_position_bias([], []).z is None
    assert measure_position_bias([], []).bins[0].hit_rate is None
    assert measure_position_bias([1, 2], [True, False]).z is None
    assert measure_position_bias([1, 40], [True, True]).z is None


def test_other_bins_and_places_outside_them() -> None:
    found = measure_position_bias([1, 2, 3, 9], [True, False, True, True], bins=[(1, 2), (3, 4)])
    assert [each.sessions for each in found.bins] == [2, 1]


@pytest.mark.parametrize("bins", [[], [(0, 3)], [(3, 1)], [(1, 5), (5, 9)], [(6, 9), (1, 5)]])
def test_impossible_bins_are_refused(bins: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="bins"):
        measure_position_bias([1], [True], bins=bins)


def test_lengths_have_to_agree() -> None:
    with pytest.raises(ValueError, match="1 and 2"):
        measure_position_bias([1, 2], [True])


def test_place_of_the_target() -> None:
    session = Session(session_id="s", items=("a",), target="c", candidates=("b", "c"))
    assert target_place(session) == 2
    with pytest.raises(ValueError, match="no target"):
        target_place(Session(session_id="s", items=("a",)))
