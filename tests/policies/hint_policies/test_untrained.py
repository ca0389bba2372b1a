from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import (
    FixedHintPolicy,
    NearestHintPolicy,
    NoHintPolicy,
    RandomHintPolicy,
)

HINTS = tuple(Hint(text=f"Prefer films of kind {number}.") for number in range(4))
STATES = np.random.default_rng(0).standard_normal((4000, 3)).astype(np.float32)


def _all(states: np.ndarray, hints: Sequence[Hint]) -> HintOffer:
    return HintOffer.of_all(states, hints)


def test_no_hint_is_never_a_hint() -> None:
    assert set(NoHintPolicy().choose(_all(STATES[:5], HINTS)).hint_ids) == {None}


def test_the_fixed_hint_is_given_where_it_is_on_offer() -> None:
    policy = FixedHintPolicy(HINTS[1].hint_id)
    assert set(policy.choose(_all(STATES[:5], HINTS)).hint_ids) == {HINTS[1].hint_id}
    assert set(policy.choose(_all(STATES[:5], HINTS[2:])).hint_ids) == {None}


def test_the_fixed_hint_is_given_only_to_the_sessions_that_are_offered_it() -> None:
    offer = _all(STATES[:2], HINTS)
    candidates = np.array([[0, 1], [2, NO_CANDIDATE]])
    offer = HintOffer(
        offer.states, HINTS, offer.vectors, candidates, np.zeros((2, 2), dtype=np.float32)
    )
    assert FixedHintPolicy(HINTS[1].hint_id).choose(offer).hint_ids == [HINTS[1].hint_id, None]


def test_random_hints_are_uniform_over_the_hints_without_no_hint() -> None:
    choices = RandomHintPolicy(0).choose(_all(STATES, HINTS))
    counts = Counter(choices.hint_ids)
    assert set(counts) == {hint.hint_id for hint in HINTS}
    # Four standard deviations of a binomial with 4000 draws of 1/4.
    assert all(abs(count - 1000) < 110 for count in counts.values())
    assert all(one.log_probability == pytest.approx(np.log(0.25)) for one in choices)


def test_a_random_hint_comes_from_the_session_s_own_candidates_alone() -> None:
    policy = RandomHintPolicy(0)
    few = _all(STATES, HINTS[1:3])
    gap = np.full((len(STATES), 1), NO_CANDIDATE)
    # The same two hints a session, but as one of two offers that the batch holds.
    mixed = HintOffer(
        STATES,
        HINTS,
        np.zeros((4, 1), dtype=np.float32),
        np.concatenate([gap, np.tile([2, 1], (len(STATES), 1)), gap], axis=1),
        np.zeros((len(STATES), 4), dtype=np.float32),
    )
    choices = policy.choose(mixed)
    assert choices.hint_ids == policy.choose(few).hint_ids
    assert np.allclose(choices.log_probabilities, np.log(0.5))


def test_a_hint_offered_twice_is_not_likelier() -> None:
    policy = RandomHintPolicy(0)
    twice = policy.choose(_all(STATES, [*HINTS, HINTS[0]]))
    assert list(twice) == list(policy.choose(_all(STATES, HINTS)))


def test_another_seed_draws_otherwise() -> None:
    first = RandomHintPolicy(0).choose(_all(STATES, HINTS)).hint_ids
    second = RandomHintPolicy(1).choose(_all(STATES, HINTS)).hint_ids
    agree = np.mean([a == b for a, b in zip(first, second, strict=True)])
    assert 0.2 < agree < 0.3


def test_equal_states_get_equal_hints_whatever_their_zeros_sign() -> None:
    for number in range(20):
        states = np.array([[0.0, number], [-0.0, number]], dtype=np.float32)
        first, second = RandomHintPolicy(0).choose(_all(states, HINTS))
        assert first == second


THREE = HINTS[:3]


def _offer() -> HintOffer:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    queries = np.array([[1, 0], [3, 4], [0, -1]], dtype=np.float32)
    return HintOffer.of_all(np.zeros((3, 2), np.float32), THREE, vectors, queries)


def test_the_most_similar_hint_is_given_however_unlike() -> None:
    ids = [hint.hint_id for hint in THREE]
    equally_near = min(ids[0], ids[2])
    assert NearestHintPolicy().choose(_offer()).hint_ids == [ids[0], ids[1], equally_near]


def test_a_hint_at_the_very_opposite_is_still_a_hint() -> None:
    offer = _offer().without([THREE[1].hint_id, THREE[2].hint_id])
    offer = HintOffer(
        offer.states,
        offer.hints,
        offer.vectors,
        offer.candidates,
        np.where(offer.present, np.float32(-1.0000001), np.float32(0)),
    )
    assert NearestHintPolicy().choose(offer).hint_ids == [THREE[0].hint_id] * 3


def test_a_hint_no_nearer_than_asked_for_is_not_given() -> None:
    assert NearestHintPolicy(0.7).choose(_offer()).hint_ids == [
        THREE[0].hint_id,
        THREE[1].hint_id,
        None,
    ]
    assert NearestHintPolicy(0.8).choose(_offer()).hint_ids[1] is None


def test_a_cosine_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="min_similarity"):
        NearestHintPolicy(1.5)
