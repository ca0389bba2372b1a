# ruff: noqa: S101 - a suite of tests is made of assert statements
"""The hint policy contract as tests that any policy can run. Needs pytest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from agentrec.contracts import HintPolicy
from agentrec.hint_offers import NO_CANDIDATE, HintChoices, HintOffer
from agentrec.hints import Hint

UNKNOWN_HINTS = tuple(
    Hint(text=f"Prefer what no policy was ever trained on, number {number}.") for number in range(3)
)


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

    hint_dim: ClassVar[int] = 12
    """Length of the hints' vectors with which the suite calls the policy."""

    deterministic: ClassVar[bool] = True
    """Whether equal calls give equal choices, each session's choice independent of the others."""

    greedy_by_score: ClassVar[bool] = True
    """Whether a deterministic policy takes the option that it scores highest."""

    scores_new_hints: ClassVar[bool] = True
    """Whether it could choose a hint that it was not trained on."""

    refuses_other_widths: ClassVar[bool] = False
    """Whether it was trained on states, and refuses states of another width."""

    @pytest.fixture
    def states(self) -> npt.NDArray[np.float32]:
        """Sessions to choose for, shape ``[40, state_dim]``."""
        drawn = np.random.default_rng(7).standard_normal((40, self.state_dim))
        return drawn.astype(np.float32)

    def offered(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> HintOffer:
        """All the hints to all the sessions; a hint has the same vector in every offer."""
        vectors = np.zeros((len(hints), self.hint_dim), dtype=np.float32)
        for row, hint in zip(vectors, hints, strict=True):
            generator = np.random.default_rng(int(hint.hint_id, 16))
            row[:] = generator.standard_normal(self.hint_dim)
        mixing = np.random.default_rng(8).standard_normal((self.state_dim, self.hint_dim))
        return HintOffer.of_all(states, hints, vectors, states @ mixing.astype(np.float32))

    @pytest.fixture
    def mixed(self, hints: Sequence[Hint], states: npt.NDArray[np.float32]) -> HintOffer:
        """Candidates that differ by session: some, none, known and unknown ones, in any order."""
        return with_candidates_that_differ(self.offered(states, [*hints, *UNKNOWN_HINTS]), seed=9)

    def test_there_is_one_choice_a_session(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """As many choices as rows, also for one row."""
        assert len(policy.choose(self.offered(states, hints))) == len(states)
        assert len(policy.choose(self.offered(states[:1], hints))) == 1

    def test_an_empty_batch_has_no_choices(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """An empty batch is no error."""
        assert list(policy.choose(self.offered(states[:0], hints))) == []

    def test_the_choices_are_of_the_offer(self, policy: HintPolicy, mixed: HintOffer) -> None:
        """So that the gains can be looked up in the rewards of that offer."""
        assert policy.choose(mixed).offer is mixed

    def test_what_is_chosen_is_on_offer(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """Whatever is on offer: all, some, in another order, twice, or among unknown ones."""
        several: list[Sequence[Hint]] = [hints, hints[:1], hints[::-1], [*hints, *hints]]
        for offered in (*several, [UNKNOWN_HINTS[0], *hints[1:]], UNKNOWN_HINTS):
            allowed = {hint.hint_id for hint in offered} | {None}
            choices = policy.choose(self.offered(states, offered))
            assert {choice.hint_id for choice in choices} <= allowed

    def test_each_session_gets_one_of_its_own_candidates(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """What other sessions of the batch are offered is not for this one."""
        for row, choice in zip(mixed.candidates, policy.choose(mixed), strict=True):
            own = {mixed.hint_ids[index] for index in row if index != NO_CANDIDATE}
            assert choice.hint_id in own | {None}

    def test_with_nothing_on_offer_the_choice_is_no_hint_for_certain(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """One option has probability 1, whether no hint is there or none is a candidate."""
        everything = self.offered(states, hints)
        for offer in (self.offered(states, []), everything.without(everything.hint_ids)):
            for choice in policy.choose(offer):
                assert choice.hint_id is None
                assert choice.log_probability == pytest.approx(0.0, abs=1e-5)

    def test_a_session_without_candidates_among_others_gets_no_hint(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Also where other sessions of the batch have some."""
        without = np.flatnonzero(~mixed.present.any(axis=1))
        assert 0 < len(without) < len(mixed)
        choices = policy.choose(mixed)
        for row in without.tolist():
            assert choices[row].hint_id is None
            assert choices[row].log_probability == pytest.approx(0.0, abs=1e-5)

    def test_log_probabilities_and_values_are_in_range(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """What was chosen has a probability above 0 and at most 1."""
        for choice in policy.choose(mixed):
            assert np.isfinite(choice.log_probability)
            assert choice.log_probability <= 0
            assert np.isfinite(choice.value)

    def test_every_option_on_offer_has_a_score_and_nothing_else(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Minus infinity stands where there is no candidate, or a hint it can never choose."""
        scores = policy.choose(mixed).scores
        assert not np.isnan(scores).any()
        assert not (scores == np.inf).any()
        scored = mixed.present
        if not self.scores_new_hints:
            new = [at for at, hint in enumerate(mixed.hints) if hint in UNKNOWN_HINTS]
            scored = scored & ~np.isin(mixed.candidates, new)
        assert np.array_equal(np.isfinite(scores[:, 1:]), scored)
        assert np.isfinite(scores[:, 0]).all()

    def test_no_option_scores_higher_than_the_chosen_one(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """A score is what the policy decides by."""
        if not (self.deterministic and self.greedy_by_score):
            pytest.skip("the policy does not take the best score")
        choices = policy.choose(mixed)
        taken = choices.scores[np.arange(len(mixed)), choices.options]
        assert (taken >= choices.scores.max(axis=1)).all()

    def test_states_of_another_width_are_refused(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """They come from another encoder and mean something else."""
        if not self.refuses_other_widths:
            pytest.skip("the policy does not use states")
        offer = self.offered(states, hints)
        with pytest.raises(ValueError, match=str(self.state_dim)):
            policy.choose(offer.with_states(states[:, :-1]))

    def test_choices_come_in_the_order_of_the_sessions(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Reversed sessions give reversed choices."""
        self._needs_determinism()
        forward = policy.choose(mixed)
        backward = policy.choose(mixed.rows(slice(None, None, -1)))
        assert forward.hint_ids == backward.hint_ids[::-1]

    def test_a_batch_chooses_as_its_sessions_one_by_one(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """A choice does not depend on the other sessions of the batch."""
        self._needs_determinism()
        together = policy.choose(mixed)
        for row, choice in enumerate(together):
            (alone,) = policy.choose(mixed.rows([row]))
            assert alone.hint_id == choice.hint_id
            assert alone.log_probability == pytest.approx(choice.log_probability, abs=1e-5)
            assert alone.value == pytest.approx(choice.value, abs=1e-5)

    def test_equal_calls_give_equal_choices(self, policy: HintPolicy, mixed: HintOffer) -> None:
        """Acting neither trains nor advances anything."""
        self._needs_determinism()
        first, second = policy.choose(mixed), policy.choose(mixed)
        assert list(first) == list(second)
        assert np.array_equal(first.scores, second.scores)

    def test_acting_leaves_the_parameters_as_they_were(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Where a policy has a ``parameter_hash``, it stays."""
        if not hasattr(policy, "parameter_hash"):
            pytest.skip("the policy has no parameter_hash")
        before = policy.parameter_hash
        policy.choose(mixed)
        policy.choose(mixed)
        assert policy.parameter_hash == before

    def test_the_order_of_the_hints_does_not_matter(
        self, policy: HintPolicy, hints: Sequence[Hint], states: npt.NDArray[np.float32]
    ) -> None:
        """A hint is known by its id, never by its index."""
        self._needs_determinism()
        forward = policy.choose(self.offered(states, hints))
        backward = policy.choose(self.offered(states, hints[::-1]))
        _same(forward, backward)

    def test_the_order_of_a_sessions_candidates_does_not_matter(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Nor does it matter where among them there are gaps."""
        self._needs_determinism()
        order = np.random.default_rng(10).permuted(
            np.tile(np.arange(mixed.width), (len(mixed), 1)), axis=1
        )
        turned = HintOffer(
            mixed.states,
            mixed.hints,
            mixed.vectors,
            np.take_along_axis(mixed.candidates, order, axis=1),
            np.take_along_axis(mixed.similarities, order, axis=1),
        )
        _same(policy.choose(mixed), policy.choose(turned))

    def test_the_offer_is_left_as_it_was(self, policy: HintPolicy, mixed: HintOffer) -> None:
        """Read-only arrays are accepted."""
        names = ("states", "vectors", "candidates", "similarities")
        before = [getattr(mixed, name).copy() for name in names]
        for name in names:
            getattr(mixed, name).flags.writeable = False
        policy.choose(mixed)
        assert all(
            np.array_equal(getattr(mixed, name), one)
            for name, one in zip(names, before, strict=True)
        )

    def test_the_global_random_state_is_left_alone(
        self, policy: HintPolicy, mixed: HintOffer
    ) -> None:
        """Numpy's legacy generator is where it was."""
        before = np.random.get_state(legacy=False)
        policy.choose(mixed)
        after = np.random.get_state(legacy=False)
        assert str(before) == str(after)

    def _needs_determinism(self) -> None:
        if not self.deterministic:
            pytest.skip("the policy draws its choices")


def with_candidates_that_differ(offer: HintOffer, seed: int) -> HintOffer:
    """Remove about half of each session's candidates, and all of every fifth session's.

    The others come in an order of their own, with gaps among them.

    Args:
        offer: What is on offer.
        seed: Of what is removed.
    """
    generator = np.random.default_rng(seed)
    gone = generator.random(offer.candidates.shape) < 0.5
    gone[::5] = True
    order = generator.permuted(np.tile(np.arange(offer.width), (len(offer), 1)), axis=1)
    candidates = np.where(gone, NO_CANDIDATE, offer.candidates)
    similarities = np.where(gone, np.float32(0), offer.similarities)
    return HintOffer(
        offer.states,
        offer.hints,
        offer.vectors,
        np.take_along_axis(candidates, order, axis=1),
        np.take_along_axis(similarities, order, axis=1),
    )


def _same(first: HintChoices, second: HintChoices) -> None:
    """Check that choices are equal, up to rounding."""
    assert first.hint_ids == second.hint_ids
    for name in ("log_probabilities", "values"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-5)
