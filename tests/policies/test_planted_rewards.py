import numpy as np
import pytest

from agentrec.testing.planted_sessions import planted_rewards, pure_noise_rewards


def test_at_no_noise_the_measured_values_are_the_expected_ones() -> None:
    world = planted_rewards(50, 4, 8, signal=0.7, noise=0.0, seed=0)
    assert np.array_equal(world.ndcg, world.expected_ndcg)


def test_at_full_noise_values_are_ndcg_of_a_place_and_right_on_average() -> None:
    world = planted_rewards(20_000, 3, 2, signal=1.0, noise=1.0, seed=0)
    legal = np.array([0, *(1 / np.log2(np.arange(1, 11) + 1))], dtype=np.float32)
    assert np.isclose(world.ndcg[..., None], legal).any(axis=-1).all()
    assert np.allclose(world.ndcg.mean(axis=0), world.expected_ndcg.mean(axis=0), atol=0.012)
    high = world.expected_ndcg > 0.5
    assert world.ndcg[high].mean() == pytest.approx(world.expected_ndcg[high].mean(), abs=0.012)


def test_the_optimum_is_what_the_best_options_gain() -> None:
    world = planted_rewards(300, 5, 8, signal=1.0, noise=1.0, seed=1)
    ids = (None, *world.hint_ids)
    best = [ids[option] for option in world.best_options]
    assert world.gains_of(best).mean() == pytest.approx(world.optimal_gain)
    assert world.gains_of([None] * 300).tolist() == [0.0] * 300
    assert len(set(best)) == 6


def test_without_signal_every_option_is_worth_the_same() -> None:
    world = pure_noise_rewards(100, 5, 8, 0)
    assert world.optimal_gain == 0
    assert world.ndcg.std() > 0.2


def test_the_same_seed_is_the_same_world_and_parts_belong_to_it() -> None:
    first, second = (planted_rewards(30, 4, 8, 1.0, 1.0, seed=5) for _ in range(2))
    assert np.array_equal(first.states, second.states)
    assert np.array_equal(first.ndcg, second.ndcg)
    part = first.between(10, 20)
    assert part.session_ids == first.session_ids[10:20]
    assert np.array_equal(part.expected_gains, first.expected_gains[10:20])


@pytest.mark.parametrize(("signal", "noise"), [(-0.1, 0.5), (1.1, 0.5), (0.5, 1.5)])
def test_knobs_out_of_range_are_refused(signal: float, noise: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        planted_rewards(10, 2, 3, signal, noise, seed=0)
