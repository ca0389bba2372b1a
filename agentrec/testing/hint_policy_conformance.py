# ruff: noqa: S101 - a suite of tests is made of assert statements
"""The hint policy contract as tests that any policy can run. Needs pytest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from agentrec.contracts import HintPolicy
from agentrec.hints import Hint

_UNKNOWN = Hint(text="Prefer what no policy was ever trained on.")


class HintPolicyConformance:
    """Every sentence of the ``HintPolicy`` contract, as a test.

    Subclass it in a test module and give it two fixtures, and override the class attributes where
    they do not fit::

        class TestMyHintPolicy(HintPolicyConformance):
            state_dim = 12

            @pytest.fixture
            def policy(self):
                return MyHintPolicy(...)

            @pytest.fixture
            def hints(self):
                return (Hint(text="Prefer ..."), ...)  # at least two the policy can choose among
    """

    state_dim: ClassVar[int] = 12
    """Width of the states with which the suite calls the policy."""

    deterministic: ClassVar[bool] = True
    """Whether equal calls give equal choices, each from its own session alone."""

    @pytest.fixture
    def states(self) -> npt.NDArray[np.float32]:
        """Sessions to choose for, shape ``[40, state_dim]``."""
        drawn = np.random.default_rng(7).standard_normal((40, self.state_dim))
        return drawn.astype(np.float32)

    def test_there_is_one_choice_a_session(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """As many choices as rows, also for one row."""
        assert len(policy.choose(states, hints)) == len(states)
        assert len(policy.choose(states[:1], hints)) == 1

    def test_an_empty_batch_has_no_choices(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """A batch of none is no error."""
        assert policy.choose(states[:0], hints) == []

    def test_what_is_chosen_is_on_offer(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Whatever is on offer: all, some, in another order, twice, or among unknown ones."""
        for offered in (hints, hints[:1], hints[::-1], [*hints, *hints], [_UNKNOWN, *hints[1:]]):
            allowed = {hint.hint_id for hint in offered} | {None}
            assert {choice.hint_id for choice in policy.choose(states, offered)} <= allowed

    def test_with_nothing_on_offer_the_choice_is_no_hint_for_certain(
        self, policy: HintPolicy, states: npt.NDArray[np.float32]
    ) -> None:
        """One option has probability 1."""
        for choice in policy.choose(states, []):
            assert choice.hint_id is None
            assert choice.log_probability == pytest.approx(0.0, abs=1e-5)

    def test_log_probabilities_and_values_are_in_range(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """A probability is above 0, since it was chosen, and at most 1."""
        for choice in policy.choose(states, hints):
            assert np.isfinite(choice.log_probability)
            assert choice.log_probability <= 0
            assert np.isfinite(choice.value)

    def test_choices_come_in_the_order_of_the_sessions(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Sessions turned round, choices turned round."""
        if not self.deterministic:
            pytest.skip("the policy draws its choices")
        forward = policy.choose(states, hints)
        backward = policy.choose(states[::-1], hints)
        assert [one.hint_id for one in forward] == [one.hint_id for one in backward[::-1]]

    def test_equal_calls_give_equal_choices(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Acting neither trains nor advances anything."""
        if not self.deterministic:
            pytest.skip("the policy draws its choices")
        assert policy.choose(states, hints) == policy.choose(states, hints)

    def test_the_order_of_the_hints_does_not_matter(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """A hint is known by its id, never by its place."""
        if not self.deterministic:
            pytest.skip("the policy draws its choices")
        assert policy.choose(states, hints) == policy.choose(states, hints[::-1])

    def test_states_are_left_as_they_were(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Also a read-only array will do."""
        before = states.copy()
        states.flags.writeable = False
        policy.choose(states, hints)
        assert np.array_equal(states, before)

    def test_the_global_random_state_is_left_alone(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Numpy's legacy generator is where it was."""
        before = np.random.get_state(legacy=False)
        policy.choose(states, hints)
        after = np.random.get_state(legacy=False)
        assert str(before) == str(after)
