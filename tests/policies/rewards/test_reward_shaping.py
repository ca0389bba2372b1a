from typing import get_args

import numpy as np
import pytest

from agentrec.evaluation.metrics import ndcg_of_ranks, score_sessions
from agentrec.policies.rewards.reward_table import RewardShape, reciprocal_ranks, shaped_rewards

# From place 2 to 1, 1 to 3, none to 10, 10 to none, 7 to 7, none to none, 2 to not measured.
BEFORE = ndcg_of_ranks(np.array([2, 1, 0, 10, 7, 0, 2])).astype(np.float32)
AFTER = np.append(ndcg_of_ranks(np.array([1, 3, 10, 0, 7, 0])), np.nan).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("ndcg", [1 - 0.63093, -0.5, 0.28906, -0.28906, 0, 0, np.nan]),
        ("reciprocal_rank", [0.5, -2 / 3, 0.1, -0.1, 0, 0, np.nan]),
        ("hit", [0, 0, 1, -1, 0, 0, np.nan]),
        ("sign", [1, -1, 1, -1, 0, 0, np.nan]),
    ],
)
def test_shapes_are_what_a_person_works_out(shape: RewardShape, expected: list[float]) -> None:
    rewards = shaped_rewards(AFTER, BEFORE, shape)
    assert rewards.dtype == np.float32
    np.testing.assert_allclose(rewards, expected, atol=1e-5)


def test_ranks_are_recovered_exactly() -> None:
    ranks = np.arange(11)
    measured = ndcg_of_ranks(ranks).astype(np.float32)
    assert np.array_equal(reciprocal_ranks(measured), score_sessions(ranks)["mrr"])


@pytest.mark.parametrize("shape", get_args(RewardShape))
def test_rewards_stay_in_range_and_agree_on_the_direction(shape: RewardShape) -> None:
    values = np.linspace(0, 1, 201, dtype=np.float32)
    rewards = shaped_rewards(values[:, None], values[None, :], shape)
    assert rewards.min() == -1
    assert rewards.max() == 1
    assert np.array_equal(rewards, -rewards.T)
    assert bool((rewards[np.tril_indices(201)] >= 0).all())


def test_an_unknown_shape_is_named() -> None:
    with pytest.raises(ValueError, match="unknown shape 'mrr'; it is one of ndcg, reciprocal_rank"):
        shaped_rewards(AFTER, BEFORE, "mrr")  # type: ignore[arg-type]
