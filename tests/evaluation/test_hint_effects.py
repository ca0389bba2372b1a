import numpy as np
import pytest

from agentrec.evaluation.hint_effects import hint_effects
from agentrec.hints import Hint

HINTS = [
    Hint(text="Prefer old.", state="admitted"),
    Hint(text="Seek new.", state="admitted"),
    Hint(text="Try.", state="nominated"),
]
GAINS = np.array([[0.5, -0.2, -0.4], [0.1, 0.3, 0.0], [-0.9, 0.1, 0.2], [0.0, 0.0, -0.4]])
NEAR = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 0, 0]], dtype=bool)


def test_means_are_over_sessions_like_each_hints_own() -> None:
    effects = hint_effects(HINTS, GAINS, NEAR, seed=0)
    near = [effect.near.mean for effect in effects.effects]
    assert near == pytest.approx([0.2, 0.2, -0.2 / 3])
    everywhere = [effect.everywhere.mean for effect in effects.effects]
    assert everywhere == pytest.approx([-0.075, 0.05, -0.15])
    assert [(e.wins, e.losses) for e in effects.effects] == [(2, 0), (2, 0), (1, 1)]
    assert effects.share_positive == 1.0
    assert effects.admitted is not None
    assert effects.refused is not None
    assert effects.difference is not None
    assert effects.admitted.mean == pytest.approx(1.0 / 5)
    assert effects.refused.mean == pytest.approx(-0.2 / 3)
    assert effects.difference.mean == pytest.approx(0.2 + 0.2 / 3)
    assert effects.difference.low < effects.difference.mean < effects.difference.high


def test_one_kind_alone_has_nothing_to_be_compared_with() -> None:
    effects = hint_effects(HINTS[:2], GAINS[:, :2], NEAR[:, :2], seed=0)
    assert (effects.refused, effects.difference) == (None, None)
    none = hint_effects([], np.zeros((4, 0)), np.zeros((4, 0), dtype=bool), seed=0)
    assert (none.admitted, none.share_positive, none.effects) == (None, 0.0, ())


def test_the_interval_covers_a_planted_difference() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, size=(400, 2))
    gains = noise + np.array([0.1, -0.1])
    hints = [HINTS[0], HINTS[2]]
    effects = hint_effects(hints, gains, np.ones((400, 2), dtype=bool), seed=1)
    assert effects.difference is not None
    assert effects.difference.low > 0
    assert effects.difference.low < 0.2 < effects.difference.high
    pure = hint_effects(hints, noise, np.ones((400, 2), dtype=bool), seed=1)
    assert pure.difference is not None
    assert pure.difference.low < 0 < pure.difference.high


def test_shapes_have_to_fit() -> None:
    with pytest.raises(ValueError, match="not sessions by 3 hints"):
        hint_effects(HINTS, GAINS[:, :2], NEAR, seed=0)
