from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from agentrec.contracts import HintPolicy
from agentrec.hints import Hint
from agentrec.policies.fixed import (
    FixedHintPolicy,
    NoHintPolicy,
    RandomHintPolicy,
    best_single_hint,
)
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.hint_policy_conformance import HintPolicyConformance

HINTS = tuple(Hint(text=f"Prefer films of kind {number}.") for number in range(4))
STATES = np.random.default_rng(0).standard_normal((4000, 3)).astype(np.float32)


class _WithHints(HintPolicyConformance):
    @pytest.fixture
    def hints(self) -> Sequence[Hint]:
        return HINTS


class TestNoHintPolicyContract(_WithHints):
    @pytest.fixture
    def policy(self) -> HintPolicy:
        return NoHintPolicy()


class TestFixedHintPolicyContract(_WithHints):
    @pytest.fixture
    def policy(self) -> HintPolicy:
        return FixedHintPolicy(HINTS[1].hint_id)


class TestRandomHintPolicyContract(_WithHints):
    @pytest.fixture
    def policy(self) -> HintPolicy:
        return RandomHintPolicy(3)


def test_the_fixed_hint_is_given_where_it_is_on_offer() -> None:
    policy = FixedHintPolicy(HINTS[1].hint_id)
    assert {one.hint_id for one in policy.choose(STATES[:5], HINTS)} == {HINTS[1].hint_id}
    assert {one.hint_id for one in policy.choose(STATES[:5], HINTS[2:])} == {None}


def test_random_hints_are_uniform_over_the_hints_without_no_hint() -> None:
    choices = RandomHintPolicy(0).choose(STATES, HINTS)
    counts = Counter(one.hint_id for one in choices)
    assert set(counts) == {hint.hint_id for hint in HINTS}
    # Four standard deviations of a binomial with 4000 draws of 1/4.
    assert all(abs(count - 1000) < 110 for count in counts.values())
    assert all(one.log_probability == pytest.approx(np.log(0.25)) for one in choices)


def test_a_hint_offered_twice_is_not_likelier() -> None:
    policy = RandomHintPolicy(0)
    assert policy.choose(STATES, [*HINTS, HINTS[0]]) == policy.choose(STATES, HINTS)


def test_another_seed_draws_otherwise() -> None:
    first = RandomHintPolicy(0).choose(STATES, HINTS)
    second = RandomHintPolicy(1).choose(STATES, HINTS)
    agree = np.mean([a == b for a, b in zip(first, second, strict=True)])
    assert 0.2 < agree < 0.3


def test_equal_states_get_equal_hints_whatever_their_zeros_sign() -> None:
    states = np.array([[0.0, 1.0], [-0.0, 1.0]], dtype=np.float32)
    first, second = RandomHintPolicy(0).choose(states, HINTS)
    assert first == second


def _table(columns: list[list[float]], hint_ids: tuple[str, ...]) -> RewardTable:
    ndcg = np.array(columns, dtype=np.float32).T
    return RewardTable(tuple(f"s{at}" for at in range(len(ndcg))), hint_ids, ndcg)


def test_the_best_single_hint_has_the_best_mean_even_below_no_hint() -> None:
    table = _table([[0.9, 0.9], [0.0, 0.4], [0.3, 0.3]], ("a", "b"))
    assert best_single_hint(table) == "b"


def test_of_equal_hints_the_smallest_id_wins_in_any_order() -> None:
    assert best_single_hint(_table([[0.0], [0.5], [0.5]], ("b", "a"))) == "a"
    assert best_single_hint(_table([[0.0], [0.5], [0.5]], ("a", "b"))) == "a"


def test_without_hints_or_sessions_there_is_no_best_hint() -> None:
    assert best_single_hint(_table([[0.5]], ())) is None
    assert best_single_hint(RewardTable((), ("a",), np.zeros((0, 2), np.float32))) is None
