import random

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.errors import ModelCallError
from agentrec.evaluation.answer_quality import (
    AnswerQuality,
    PositionBias,
    PositionBin,
    measure_answer_quality,
    position_bias_of,
    shown_order,
    thirds,
    two_proportion_z,
)
from agentrec.llm.prompts.session_view import SessionView
from agentrec.rankings import Ranking
from agentrec.sessions import Session

CATALOG = Catalog(Item(item_id=f"i{n}", title=f"Thing {n}") for n in range(40))


def answer(**fields: object) -> Ranking:
    return Ranking.model_validate({"session_id": "s", "item_ids": ("a", "b"), **fields})


def test_qualities_counted_by_hand() -> None:
    rankings = [
        answer(),
        answer(structured=True, notes=("cut",)),
        answer(illegal=3, repaired=True, backfilled=2, notes=("cut", "one failed")),
        answer(repaired=True, structured=True),
        answer(backfilled=1),
    ]
    failures = [ModelCallError("x", kind="timed_out"), ModelCallError("x"), ModelCallError("x")]
    found = measure_answer_quality(iter(rankings), iter(failures))
    assert found == AnswerQuality(
        rankings=5,
        failed={"failed": 2, "timed_out": 1},
        clean=2,
        structured=2,
        repaired=2,
        backfilled=2,
        backfilled_items=3,
        illegal_answers=1,
        illegal=3,
        notes={"cut": 2, "one failed": 1},
    )
    assert found.share(found.clean) == 0.4
    assert AnswerQuality.model_validate_json(found.model_dump_json()) == found
    assert measure_answer_quality([]).share(0) is None


def counted(sessions: int, hits: int) -> PositionBin:
    return PositionBin(first=1, last=20, sessions=sessions, hits=hits)


@pytest.mark.parametrize(
    ("first", "last", "z"),
    [
        # p1 = 94/199, p3 = 59/198, pooled 153/397:
        # (0.472362 - 0.297980) / sqrt(0.385390 * 0.614610 * (1/199 + 1/198)) = 0.174382 / 0.048853
        ((199, 94), (198, 59), 3.5695),
        # p = 1/2: (0.1 - 0.9) / sqrt(0.25 * 0.2)
        ((10, 1), (10, 9), -0.8 / 0.05**0.5),
        ((0, 0), (10, 5), None),
        ((10, 5), (0, 0), None),
        ((10, 10), (10, 10), None),
    ],
)
def test_z_computed_by_hand(first: tuple[int, int], last: tuple[int, int], z: float | None) -> None:
    found = two_proportion_z(counted(*first), counted(*last))
    assert found is None if z is None else found == pytest.approx(z, abs=5e-4)


def with_target(number: int, target: str, count: int = 30) -> Session:
    ids = tuple(f"i{n}" for n in range(count))
    return Session(session_id=f"s{number}", items=("i39",), target=target, candidates=ids)


def stored(session: Session) -> tuple[str, ...]:
    return session.candidates


def ranking(session: Session, *item_ids: str) -> Ranking:
    return Ranking(session_id=session.session_id, item_ids=item_ids)


def test_positions_are_those_at_which_candidates_were_shown() -> None:
    # A model that copies the first ten lines of its page.
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
    # By another order than the model saw, the same answers look fair.
    for order in (stored, shown_order(CATALOG, seed=5)):
        other = position_bias_of(sessions, copied, order)
        assert other.z is not None
        assert abs(other.z) < 3


def test_only_the_first_ten_of_a_ranking_are_hits() -> None:
    session = with_target(0, "i12", count=20)
    found = position_bias_of([session], [ranking(session, *session.candidates)], stored)
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
    assert position_bias_of(sessions, [], stored).z is None
    with pytest.raises(ValueError, match="'s'"):
        position_bias_of([Session(session_id="s", items=("i0",))], [], stored)


@pytest.mark.parametrize("positions", [0, 1, 2, 3, 4, 5, 10, 50, 100])
def test_thirds_cover_every_position_once(positions: int) -> None:
    covered = [each for first, last in thirds(positions) for each in range(first, last + 1)]
    assert covered == list(range(1, max(1, positions) + 1))


def test_the_report_for_people() -> None:
    bins = (counted(2, 1), PositionBin(first=21, last=30, sessions=0, hits=0))
    assert PositionBias(bins=bins, z=0.87).lines() == [
        "target at positions 1-20: 50.0% of 2 found",
        "target at positions 21-30: none",
        "first against last range: z +0.87 (beyond 2 in size, chance is unlikely)",
    ]
    assert "not defined" in PositionBias(bins=bins, z=None).lines()[-1]


def test_candidates_that_come_best_first_are_shown_from_the_front() -> None:
    session = with_target(0, "i3")
    shown = shown_order(CATALOG, 1, max_candidates=5, ordered=True)(session)
    assert sorted(shown) == ["i0", "i1", "i2", "i3", "i4"]
