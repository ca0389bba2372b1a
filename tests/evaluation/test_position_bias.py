import random

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.evaluation.position_bias import (
    measure_position_bias,
    position_bias_of,
    shown_order,
    stored_order,
    target_place,
    thirds,
)
from agentrec.llm.prompts.session_view import SessionView
from agentrec.rankings import Ranking
from agentrec.sessions import Session

CATALOG = Catalog(Item(item_id=f"i{n}", title=f"Thing {n}") for n in range(40))


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


def with_target(number: int, target: str, count: int = 30) -> Session:
    ids = tuple(f"i{n}" for n in range(count))
    return Session(session_id=f"s{number}", items=("i39",), target=target, candidates=ids)


def ranking(session: Session, *item_ids: str) -> Ranking:
    return Ranking(session_id=session.session_id, item_ids=item_ids)


def test_places_are_those_at_which_candidates_were_shown() -> None:
    # A model that copies the first ten lines of its page, whatever they are.
    sessions = [with_target(n, f"i{n % 30}") for n in range(300)]
    views = [SessionView.of(session, CATALOG, seed=4) for session in sessions]
    copied = [
        ranking(session, *view.candidate_ids[:10])
        for session, view in zip(sessions, views, strict=True)
    ]
    random.Random(0).shuffle(copied)
    shown = position_bias_of(sessions, copied, shown_order(CATALOG, seed=4))
    assert [each.hit_rate for each in shown.bins] == [1.0, 0.0, 0.0]
    assert sum(each.sessions for each in shown.bins) == 300
    assert shown.z is not None
    assert shown.z > 10
    # Measured by another order than the model saw, the same answers look fair.
    for order in (stored_order, shown_order(CATALOG, seed=5)):
        other = position_bias_of(sessions, copied, order)
        assert other.z is not None
        assert abs(other.z) < 3


def test_only_the_first_ten_of_a_ranking_are_hits() -> None:
    session = with_target(0, "i12", count=20)
    found = position_bias_of([session], [ranking(session, *session.candidates)], stored_order)
    assert [(each.sessions, each.hits) for each in found.bins] == [(0, 0), (1, 0), (0, 0)]


def test_sessions_without_a_ranking_or_with_a_hidden_target_are_left_out() -> None:
    sessions = [with_target(n, f"i{n}") for n in range(30)]
    made = [ranking(session, session.target or "") for session in sessions[:20]]
    found = position_bias_of(sessions, made, shown_order(CATALOG, max_candidates=6))
    seen = [
        SessionView.of(session, CATALOG, max_candidates=6).candidate_ids for session in sessions
    ]
    expected = sum(s.target in ids for s, ids in zip(sessions[:20], seen, strict=False))
    assert 0 < expected < 20
    assert sum(each.sessions for each in found.bins) == expected
    assert found.bins[-1].last == 6
    assert position_bias_of(sessions, [], stored_order).z is None


def test_a_session_without_a_target_is_refused() -> None:
    session = Session(session_id="s", items=("i0",), candidates=("i1",))
    with pytest.raises(ValueError, match="'s'"):
        position_bias_of([session], [], stored_order)


@pytest.mark.parametrize("places", [0, 1, 2, 3, 4, 5, 10, 50, 100])
def test_thirds_cover_every_place_once(places: int) -> None:
    bins = thirds(places)
    covered = [place for first, last in bins for place in range(first, last + 1)]
    assert covered == list(range(1, max(1, places) + 1))


def test_the_report_for_people() -> None:
    found = measure_position_bias([1, 2, 40], [True, False, False])
    assert found.lines()[:2] == [
        "target in places 1-20: 50.0% of 2 found",
        "target in places 21-30: there was none",
    ]
    assert "z +0.87" in found.lines()[-1]
    assert "not defined" in measure_position_bias([], []).lines()[-1]


def test_the_shown_order_of_candidates_that_come_best_first() -> None:
    session = with_target(0, "i3")
    shown = shown_order(CATALOG, 1, max_candidates=5, ordered=True)(session)
    assert sorted(shown) == ["i0", "i1", "i2", "i3", "i4"]
    assert (
        shown == SessionView.of(session, CATALOG, 1, max_candidates=5, ordered=True).candidate_ids
    )
