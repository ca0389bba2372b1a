# ruff: noqa: S101 - a suite of tests is made of assert statements
"""The hint policy trainer contract as tests that any trainer can run. Needs pytest."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from agentrec.contracts import HintPolicyTrainer
from agentrec.hint_offers import RewardedOffer
from agentrec.testing.hint_policy_conformance import with_candidates_that_differ
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards


class HintPolicyTrainerConformance:
    """Every sentence of the ``HintPolicyTrainer`` contract, as a test.

    Subclass it in a test module and give it a fixture ``trainer``; make it quick, it is called a
    dozen times.
    """

    state_dim: ClassVar[int] = 12
    """Width of the states with which the suite calls the trainer."""

    @pytest.fixture
    def world(self) -> PlantedRewards:
        """The world of the sessions: five hints, each of them useful to some."""
        return planted_rewards(160, 5, self.state_dim, signal=1.0, noise=0.5, seed=11)

    @pytest.fixture
    def train(self, world: PlantedRewards) -> RewardedOffer:
        """100 sessions with candidates of their own, some of them not measured."""
        return _sparse(world.between(0, 100), seed=12)

    @pytest.fixture
    def valid(self, world: PlantedRewards) -> RewardedOffer:
        """60 other sessions of the same kind."""
        return _sparse(world.between(100, 160), seed=13)

    def test_the_same_seed_gives_the_same_policy(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """With validation sessions and without."""
        for judged_by in (valid, None):
            first, second = (trainer.fit(train, judged_by, seed=3) for _ in range(2))
            one, other = first.choose(valid.offer), second.choose(valid.offer)
            assert list(one) == list(other)
            assert np.array_equal(one.scores, other.scores)

    def test_what_was_not_measured_teaches_nothing_and_breaks_nothing(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """Also where nothing was measured, or no session is offered anything."""
        unknown = np.where(np.arange(1 + train.offer.width) == 0, np.float32(0), np.nan)
        nothing = RewardedOffer(train.offer, np.tile(unknown.astype(np.float32), (len(train), 1)))
        empty = train.offer.without(train.offer.hint_ids)
        for measured in (train, nothing, RewardedOffer(empty, nothing.rewards)):
            choices = trainer.fit(measured, valid).choose(valid.offer)
            assert len(choices) == len(valid)
            assert np.isfinite(choices.values).all()

    def test_the_sessions_are_left_as_they_were(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """Read-only arrays are accepted."""
        arrays = [*_arrays(train), *_arrays(valid)]
        before = [array.copy() for array in arrays]
        for array in arrays:
            array.flags.writeable = False
        trainer.fit(train, valid)
        assert all(
            np.array_equal(one, other, equal_nan=True)
            for one, other in zip(arrays, before, strict=True)
        )

    def test_the_global_random_state_is_left_alone(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """Neither numpy's legacy generator changes nor torch's, if it is loaded."""
        before = _random_states()
        trainer.fit(train, valid)
        # Training may have loaded torch, whose state before is unknown.
        after = _random_states()
        assert after[: len(before)] == before

    def test_progress_counts_up_to_the_end(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """Steps done increase, and in the end all are done."""
        seen: list[tuple[int, int]] = []
        trainer.fit(train, valid, on_progress=lambda done, total: seen.append((done, total)))
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
        assert len({total for _, total in seen}) == 1
        assert seen[-1][0] == seen[-1][1]

    def test_what_progress_raises_ends_the_training(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """This is how a long training is stopped."""

        def stop(done: int, total: int) -> None:
            raise InterruptedError(f"stopped at {done} of {total}")

        with pytest.raises(InterruptedError, match="stopped at"):
            trainer.fit(train, valid, on_progress=stop)

    def test_without_sessions_there_is_nothing_to_train(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """Neither to train on nor to validate by."""
        with pytest.raises(ValueError, match="session"):
            trainer.fit(train.rows(slice(0)), valid)
        with pytest.raises(ValueError, match="session"):
            trainer.fit(train, valid.rows(slice(0)))

    def test_validation_states_of_another_width_are_refused(
        self, trainer: HintPolicyTrainer, train: RewardedOffer, valid: RewardedOffer
    ) -> None:
        """They do not fit the training states."""
        narrow = valid.offer.with_states(valid.offer.states[:, :-1])
        with pytest.raises(ValueError, match=str(self.state_dim)):
            trainer.fit(train, RewardedOffer(narrow, valid.rewards))


def _sparse(world: PlantedRewards, seed: int) -> RewardedOffer:
    """Candidates that differ by session, about a fifth of them not measured."""
    offer = with_candidates_that_differ(world.offer(), seed)
    # A hint's index is a column of the world's rewards; "no candidate" is the last one.
    known = np.concatenate(
        [world.rewarded().rewards[:, 1:], np.full((len(offer), 1), np.nan, np.float32)], axis=1
    )
    rewards = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
    rewards[:, 1:] = np.take_along_axis(known, offer.candidates, axis=1)
    forgotten = np.random.default_rng(seed).random(offer.candidates.shape) < 0.2
    rewards[:, 1:][forgotten] = np.nan
    return RewardedOffer(offer, rewards)


def _arrays(rewarded: RewardedOffer) -> list[npt.NDArray[np.generic]]:
    offer = rewarded.offer
    return [
        offer.states,
        offer.vectors,
        offer.candidates,
        offer.similarities,
        rewarded.rewards,
    ]


def _random_states() -> list[str]:
    states = [str(np.random.get_state(legacy=False))]
    # The suite itself does not load torch.
    torch = sys.modules.get("torch")
    if torch is not None:
        states.append(str(torch.get_rng_state().tolist()))
    return states
