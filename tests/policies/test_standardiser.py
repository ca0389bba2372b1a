import numpy as np
import pytest

from agentrec.policies.standardiser import Standardiser

STATES = (np.random.default_rng(0).standard_normal((500, 6)) * [1, 2, 3, 4, 5, 100] + 7).astype(
    np.float32
)


def test_training_states_get_mean_0_and_deviation_1() -> None:
    features = Standardiser.fit(STATES, None)(STATES)
    assert np.allclose(features.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(features.std(axis=0), 1, atol=1e-3)


def test_a_constant_dimension_becomes_0_and_stays_harmless() -> None:
    states = STATES.copy()
    states[:, 2] = 4.0
    features = Standardiser.fit(states, None)(states)
    assert not features[:, 2].any()


def test_principal_components_keep_the_directions_that_vary_together() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.standard_normal((400, 2))
    states = (hidden @ generator.standard_normal((2, 30))).astype(np.float32)
    standardiser = Standardiser.fit(states, 2)
    features = standardiser(states)
    assert features.shape == (400, 2)
    assert (features**2).mean() == pytest.approx(1.0, rel=1e-3)
    assert features[:, 0].var() > features[:, 1].var()
    recovered, *_ = np.linalg.lstsq(features, hidden - hidden.mean(axis=0), rcond=None)
    assert np.allclose(features @ recovered, hidden - hidden.mean(axis=0), atol=1e-2)


def test_more_components_than_there_are_is_all_of_them() -> None:
    assert Standardiser.fit(STATES, 99).num_features == 6
    assert Standardiser.fit(STATES[:3], 99).num_features == 3


def test_one_training_session_is_enough() -> None:
    for components in (None, 4):
        features = Standardiser.fit(STATES[:1], components)(STATES[:1])
        assert not features.any()


def test_states_of_another_shape_are_refused_with_both_shapes() -> None:
    standardiser = Standardiser.fit(STATES, 3)
    with pytest.raises(ValueError, match=r"\[500, 5\].*6 dimensions"):
        standardiser(STATES[:, :5])
    with pytest.raises(ValueError, match=r"\[6\]"):
        standardiser(STATES[0])
