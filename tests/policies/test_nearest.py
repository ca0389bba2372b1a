from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agentrec.contracts import HintPolicy, HintPolicyTrainer
from agentrec.hint_offers import HintOffer
from agentrec.hints import Hint
from agentrec.policies.nearest import NearestHintPolicy, NearestHintSettings
from agentrec.policies.untrained import NearestHintTrainer
from agentrec.testing.hint_policy_conformance import HintPolicyConformance
from agentrec.testing.hint_policy_trainer_conformance import HintPolicyTrainerConformance

HINTS = tuple(Hint(text=f"Prefer films of kind {number}.") for number in range(3))


class TestNearestHintPolicyContract(HintPolicyConformance):
    @pytest.fixture(params=[None, 0.2])
    def policy(self, request: pytest.FixtureRequest) -> HintPolicy:
        return NearestHintPolicy(request.param)

    @pytest.fixture
    def hints(self) -> Sequence[Hint]:
        return HINTS


class TestNearestHintTrainerContract(HintPolicyTrainerConformance):
    @pytest.fixture
    def trainer(self) -> HintPolicyTrainer:
        return NearestHintTrainer(NearestHintSettings(min_similarity=0.1))


def _offer() -> HintOffer:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    queries = np.array([[1, 0], [3, 4], [0, -1]], dtype=np.float32)
    return HintOffer.of_all(np.zeros((3, 2), np.float32), HINTS, vectors, queries)


def test_the_most_similar_hint_is_given_however_unlike() -> None:
    ids = [hint.hint_id for hint in HINTS]
    equally_near = min(ids[0], ids[2])
    assert NearestHintPolicy().choose(_offer()).hint_ids == [ids[0], ids[1], equally_near]


def test_a_hint_at_the_very_opposite_is_still_a_hint() -> None:
    offer = _offer().without([HINTS[1].hint_id, HINTS[2].hint_id])
    offer = HintOffer(
        offer.states,
        offer.hints,
        offer.vectors,
        offer.candidates,
        np.where(offer.present, np.float32(-1.0000001), np.float32(0)),
    )
    assert NearestHintPolicy().choose(offer).hint_ids == [HINTS[0].hint_id] * 3


def test_a_hint_no_nearer_than_asked_for_is_not_given() -> None:
    assert NearestHintPolicy(0.7).choose(_offer()).hint_ids == [
        HINTS[0].hint_id,
        HINTS[1].hint_id,
        None,
    ]
    assert NearestHintPolicy(0.8).choose(_offer()).hint_ids[1] is None


def test_a_cosine_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="min_similarity"):
        NearestHintPolicy(1.5)


def test_what_was_saved_chooses_the_same(tmp_path: Path) -> None:
    NearestHintPolicy(0.7).save(tmp_path)
    assert NearestHintPolicy.load(tmp_path).choose(_offer()).hint_ids[2] is None
