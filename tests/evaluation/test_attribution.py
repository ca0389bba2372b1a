import json
from typing import Any

import numpy as np
import pytest

from agentrec.evaluation.attribution import Attribution, MeasuredHints, attribute
from agentrec.evaluation.intervals import bootstrap_interval

CHOSEN = ["a", "a", "a", "a", "b", "b", None, None]
GAINED = np.array([0.4, 0.2, 0.0, -0.2, -0.3, 0.1, 0.0, 0.0])
TABLE = MeasuredHints(
    ["a", "b", "c"],
    np.array(
        [
            [0.4, 0.0, 0.1],
            [0.2, 0.0, 0.3],
            [0.0, 0.5, np.nan],
            [-0.2, -0.1, 0.0],
            [0.0, -0.3, 0.0],
            [0.0, 0.1, 0.0],
            [0.2, -0.1, 0.0],
            [-0.2, -0.1, 0.0],
        ],
        dtype=np.float32,
    ),
)


def _attributed(**more: Any) -> Attribution:
    return attribute(CHOSEN, GAINED, seed=1, **more)


def _random(seed: int, sessions: int = 200) -> tuple[list[str | None], np.ndarray]:
    generator = np.random.default_rng(seed)
    chosen = [[None, "a", "b", "c"][at] for at in generator.integers(0, 4, sessions)]
    gained = generator.normal(0.05, 0.3, sessions)
    gained[[one is None for one in chosen]] = 0
    return chosen, gained


def test_what_each_hint_did_is_counted() -> None:
    first, second, none = _attributed().hints
    assert (first.hint_id, first.sessions, first.share) == ("a", 4, 0.5)
    assert (first.wins, first.ties, first.losses, first.harm_rate) == (2, 1, 1, 0.25)
    assert first.lift == bootstrap_interval([0.4, 0.2, 0.0, -0.2], seed=1, resamples=2_000)
    assert first.contribution == pytest.approx(0.4 / 8)
    assert (second.hint_id, second.harm_rate) == ("b", 0.5)
    assert second.contribution == pytest.approx(-0.2 / 8)
    assert (none.hint_id, none.sessions, none.lift, none.contribution) == (None, 2, None, 0)
    assert (none.wins, none.ties, none.losses) == (0, 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_contributions_sum_up_to_the_mean_gain(seed: int) -> None:
    chosen, gained = _random(seed)
    told = attribute(chosen, gained, seed=seed, resamples=100)
    assert sum(one.contribution for one in told.hints) == pytest.approx(told.gain.mean)
    assert told.gain.mean == pytest.approx(gained.mean())
    assert sum(one.sessions for one in told.hints) == told.sessions == 200
    for one in told.hints[:-1]:
        assert one.lift is not None
        assert one.contribution == pytest.approx(one.share * one.lift.mean)


def test_hints_come_by_contribution_then_those_never_chosen_then_no_hint() -> None:
    told = _attributed(measured=TABLE)
    assert [one.hint_id for one in told.hints] == ["a", "b", "c", None]
    never = told.hints[2]
    assert (never.sessions, never.lift, never.harm_rate, never.regret) == (0, None, None, None)


def test_no_hint_has_a_row_even_if_every_session_got_one() -> None:
    told = attribute(["a"] * 3, np.array([0.1, 0.2, 0.3]), seed=0)
    assert [(one.hint_id, one.sessions) for one in told.hints] == [("a", 3), (None, 0)]


def test_what_a_hint_would_bring_everybody_is_told_where_it_was_measured_on_all() -> None:
    told = {one.hint_id: one for one in _attributed(measured=TABLE).hints}
    everyone = told["a"].for_everyone
    assert everyone is not None
    assert everyone.mean == pytest.approx(0.05)
    assert everyone.low < everyone.mean < everyone.high
    assert told["c"].for_everyone is None
    assert told[None].for_everyone is None
    assert all(one.for_everyone is None for one in _attributed().hints)


def test_regret_is_against_the_best_measured_option_no_hint_among_them() -> None:
    told = _attributed(measured=TABLE)
    best = np.array([0.4, 0.3, 0.5, 0.0, 0.0, 0.1, 0.2, 0.0])
    assert told.regret == pytest.approx((best - GAINED).mean())
    first, second, _, none = told.hints
    assert first.regret == pytest.approx((best - GAINED)[:4].mean())
    assert second.regret == pytest.approx((best - GAINED)[4:6].mean())
    assert none.regret == pytest.approx((best - GAINED)[6:].mean())
    assert _attributed().regret is None
    # What was gained is an option too, though the table has less of it: never below 0.
    better = attribute(CHOSEN, np.where(GAINED == 0, 0, 0.9), seed=1, measured=TABLE)
    assert better.hints[0].regret is not None
    assert better.hints[0].regret >= 0


def test_a_slice_tells_what_was_chosen_in_it_and_what_that_brought() -> None:
    mask = np.array([True, True, False, False, True, False, True, True])
    (told,) = _attributed(slices={"some": mask}).slices
    assert (told.name, told.sessions) == ("some", 5)
    assert told.gain == bootstrap_interval(GAINED[mask], seed=1, resamples=2_000)
    assert [(one.hint_id, one.sessions, one.share) for one in told.hints] == [
        (None, 2, 0.4),
        ("a", 2, 0.4),
        ("b", 1, 0.2),
    ]
    assert told.hints[0].lift is None
    assert told.hints[1].lift == bootstrap_interval([0.4, 0.2], seed=1, resamples=2_000)
    assert _attributed(slices={"some": mask}).slice_lifts == 2


def test_a_slice_that_differs_is_found_and_others_are_not() -> None:
    chosen, gained = _random(3)
    generator = np.random.default_rng(4)
    slices = {str(at): generator.random(200) < 0.3 for at in range(8)}
    gained = gained + 0.3 * (slices["5"] & np.array([one is not None for one in chosen]))
    told = attribute(chosen, gained, seed=0, slices=slices, resamples=500)
    found = [one.name for one in told.slices if one.p_value < 0.05]
    assert found == ["5"]
    assert [one.name for one in told.slices] == list(slices)


def test_the_level_widens_intervals_and_the_seed_decides_the_rest() -> None:
    chosen, gained = _random(1)
    narrow, wide = (attribute(chosen, gained, seed=0, level=level) for level in (0.5, 0.99))
    assert (narrow.level, wide.level) == (0.5, 0.99)
    for inner, outer in zip(narrow.hints[:-1], wide.hints[:-1], strict=True):
        assert inner.lift is not None
        assert outer.lift is not None
        assert outer.lift.low < inner.lift.low < inner.lift.high < outer.lift.high
    assert attribute(chosen, gained, seed=0, level=0.5) == narrow
    assert attribute(chosen, gained, seed=9, level=0.5) != narrow


def test_the_attribution_survives_json() -> None:
    told = _attributed(measured=TABLE, slices={"s": np.arange(8) < 3})
    assert Attribution.model_validate_json(told.model_dump_json()) == told
    assert json.loads(told.model_dump_json())["hints"][-1]["hint_id"] is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="measured what was gained on 2 of 8"):
        attribute(CHOSEN, np.where(GAINED < 0, np.nan, GAINED), seed=0)
    with pytest.raises(ValueError, match="no hint is 0"):
        attribute(CHOSEN, GAINED + 0.1, seed=0)
    with pytest.raises(ValueError, match="0 choices"):
        attribute([], np.zeros(0), seed=0)
    with pytest.raises(ValueError, match="8 choices"):
        attribute(CHOSEN, GAINED[1:], seed=0)
    with pytest.raises(ValueError, match="measured on 7"):
        _attributed(measured=MeasuredHints(TABLE.hint_ids, TABLE.gains[1:]))
    for mask in (np.zeros(8, bool), np.ones(7, bool), np.ones(8)):
        with pytest.raises(ValueError, match="'odd' is no mask"):
            _attributed(slices={"odd": mask})


def test_measurements_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="by 3"):
        MeasuredHints(["a", "b", "c"], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="twice"):
        MeasuredHints(["a", "a"], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="not finite"):
        MeasuredHints(["a"], np.full((4, 1), np.inf))
