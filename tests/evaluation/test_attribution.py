import json
from typing import Any

import numpy as np
import pytest

from agentrec.evaluation.attribution import (
    Attribution,
    MeasuredHints,
    adjusted_p_values,
    attribute,
    standard_slices,
)
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
    result = attribute(chosen, gained, seed=seed, resamples=100)
    assert sum(one.contribution for one in result.hints) == pytest.approx(result.gain.mean)
    assert result.gain.mean == pytest.approx(gained.mean())
    assert sum(one.sessions for one in result.hints) == result.sessions == 200
    for one in result.hints[:-1]:
        assert one.lift is not None
        assert one.contribution == pytest.approx(one.share * one.lift.mean)


def test_hints_come_by_contribution_then_those_never_chosen_then_no_hint() -> None:
    result = _attributed(measured=TABLE)
    assert [one.hint_id for one in result.hints] == ["a", "b", "c", None]
    never = result.hints[2]
    assert (never.sessions, never.lift, never.harm_rate, never.regret) == (0, None, None, None)


def test_a_hint_measured_on_all_sessions_has_a_gain_for_everyone() -> None:
    result = {one.hint_id: one for one in _attributed(measured=TABLE).hints}
    everyone = result["a"].for_everyone
    assert everyone is not None
    assert everyone.mean == pytest.approx(0.05)
    assert everyone.low < everyone.mean < everyone.high
    assert result["c"].for_everyone is None
    assert result[None].for_everyone is None
    assert all(one.for_everyone is None for one in _attributed().hints)


def test_regret_is_against_the_best_measured_option_no_hint_among_them() -> None:
    result = _attributed(measured=TABLE)
    best = np.array([0.4, 0.3, 0.5, 0.0, 0.0, 0.1, 0.2, 0.0])
    assert result.regret == pytest.approx((best - GAINED).mean())
    first, second, _, none = result.hints
    assert first.regret == pytest.approx((best - GAINED)[:4].mean())
    assert second.regret == pytest.approx((best - GAINED)[4:6].mean())
    assert none.regret == pytest.approx((best - GAINED)[6:].mean())
    assert _attributed().regret is None
    # What was gained is an option too, though the table has less of it: never below 0.
    better = attribute(CHOSEN, np.where(GAINED == 0, 0, 0.9), seed=1, measured=TABLE)
    assert better.hints[0].regret is not None
    assert better.hints[0].regret >= 0


def test_a_slice_has_the_hints_chosen_in_it_with_their_lifts() -> None:
    mask = np.array([True, True, False, False, True, False, True, True])
    (result,) = _attributed(slices={"some": mask}).slices
    assert (result.name, result.sessions) == ("some", 5)
    assert result.gain == bootstrap_interval(GAINED[mask], seed=1, resamples=2_000)
    assert [(one.hint_id, one.sessions, one.share) for one in result.hints] == [
        (None, 2, 0.4),
        ("a", 2, 0.4),
        ("b", 1, 0.2),
    ]
    assert result.hints[0].lift is None
    assert result.hints[1].lift == bootstrap_interval([0.4, 0.2], seed=1, resamples=2_000)


def test_a_slice_that_differs_is_found_and_others_are_not() -> None:
    chosen, gained = _random(3)
    generator = np.random.default_rng(4)
    slices = {str(at): generator.random(200) < 0.3 for at in range(8)}
    gained = gained + 0.3 * (slices["5"] & np.array([one is not None for one in chosen]))
    result = attribute(chosen, gained, seed=0, slices=slices, resamples=500)
    found = [one.name for one in result.slices if one.p_value < 0.05]
    assert found == ["5"]
    assert [one.name for one in result.slices] == list(slices)


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
    result = _attributed(measured=TABLE, slices={"s": np.arange(8) < 3})
    assert Attribution.model_validate_json(result.model_dump_json()) == result
    assert json.loads(result.model_dump_json())["hints"][-1]["hint_id"] is None


def sliced(lengths: np.ndarray | None = None, ndcg: np.ndarray | None = None, **categories: Any):
    """Slices in which all but the given property is the same for all sessions."""
    known = next(each for each in (lengths, ndcg, *categories.values()) if each is not None)
    return standard_slices(
        np.full(len(known), 3) if lengths is None else lengths,
        np.zeros(len(known)) if ndcg is None else ndcg,
        categories,
    )


def test_history_lengths_make_quartiles_named_for_their_lengths() -> None:
    lengths = np.repeat(np.arange(1, 9), 10)
    slices = sliced(lengths)
    assert list(slices) == [
        "history: 1 to 2 items",
        "history: 3 to 4 items",
        "history: 5 to 6 items",
        "history: 7 to 8 items",
    ]
    assert np.stack(list(slices.values())).sum(axis=0).tolist() == [1] * 80
    assert np.array_equal(slices["history: 3 to 4 items"], (lengths == 3) | (lengths == 4))
    equal = sliced(np.array([1] * 60 + [2] * 20 + [5] * 20))
    assert list(equal) == ["history: 1 item", "history: 2 items", "history: 5 items"]


def test_the_result_without_a_hint_splits_the_sessions_in_three() -> None:
    ndcg = np.repeat([0.0, 0.3, 0.6309, 1.0], 10).astype(np.float32)
    slices = sliced(ndcg=ndcg)
    assert [int(mask.sum()) for mask in slices.values()] == [10, 20, 10]
    assert np.array_equal(slices["no hint: target first"], ndcg == 1)
    assert np.array_equal(slices["no hint: target not listed"], ndcg == 0)


def test_categories_may_overlap_but_not_be_small_or_everybody() -> None:
    of = np.arange(40)
    slices = sliced(war=of < 15, love=(of >= 10) & (of < 30), nine=of < 9, ten=of < 10, all=of < 40)
    assert list(slices) == ["category: war", "category: love", "category: ten"]
    assert np.array_equal(slices["category: war"], of < 15)


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


def test_large_permutations_come_in_blocks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(3)
    values, mask = generator.normal(0, 1, 50), np.arange(50) < 20
    whole = adjusted_p_values(values, [mask], seed=0, permutations=300)
    monkeypatch.setattr("agentrec.evaluation.attribution._NUMBERS_AT_ONCE", 350)
    assert adjusted_p_values(values, [mask], seed=0, permutations=300) == whole


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
