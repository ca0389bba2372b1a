import numpy as np
import pytest

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.hints import Hint
from agentrec.policies.standardiser import Standardiser
from agentrec.policies.training_data import align_to_hints, offered_hint_ids

HINTS = tuple(Hint(text=f"Prefer films of kind {number}.") for number in range(3))


def _offer() -> HintOffer:
    candidates = np.array([[2, 0], [NO_CANDIDATE, 2]])
    vectors, similarities = np.zeros((3, 1), np.float32), np.zeros((2, 2), np.float32)
    return HintOffer(np.zeros((2, 1), np.float32), HINTS, vectors, candidates, similarities)


def test_what_stands_at_a_candidate_moves_to_its_hint() -> None:
    columns = np.array([[5, 6], [7, 8]], dtype=np.float32)
    ids = [hint.hint_id for hint in HINTS]
    moved = align_to_hints(_offer(), columns, [ids[2], "unheard of", ids[0]])
    expected = [[5, np.nan, 6], [8, np.nan, np.nan]]
    assert np.array_equal(moved, np.array(expected), equal_nan=True)


def test_hints_that_nobody_is_offered_are_left_out() -> None:
    assert offered_hint_ids(_offer()) == tuple(sorted((HINTS[0].hint_id, HINTS[2].hint_id)))


def test_features_are_centred_and_come_with_a_constant() -> None:
    rows = np.random.default_rng(0).normal(3, 2, (500, 5)).astype(np.float32)
    features = Standardiser.fit(rows, max_components=3)
    seen = features.with_intercept(rows)
    assert seen.shape == (500, 4)
    assert (seen[:, 0] == 1).all()
    assert np.allclose(seen[:, 1:].mean(axis=0), 0, atol=1e-4)
    assert seen[:, 1:].var(axis=0).mean() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="this policy was trained on 5 dimensions"):
        features.with_intercept(rows[:, :4])
