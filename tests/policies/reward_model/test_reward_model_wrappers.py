from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentrec.contracts import RewardModel
from agentrec.errors import ModelCallError
from agentrec.policies.reward_model.reward_model_wrappers import (
    BatchedRewardModel,
    MixedRewardModel,
)
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

SESSIONS = [
    Session(session_id=f"s{n}", items=("a",), target="b", candidates=("b", "c")) for n in range(3)
]
TEXTS = [["x", "yy"], [], ["zzz"]]


class Says:
    """Finds every text worth the same, but for those that it knows nothing of."""

    def __init__(self, value: float, margin: float = 0.0, unknown: Sequence[str] = ()) -> None:
        self.parameter_hash = f"{value} {margin}"
        self._reward = PreferenceReward(value=value, margin=margin)
        self._unknown = unknown
        self.asked: list[tuple[Sequence[Session], Sequence[Sequence[str]]]] = []

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        self.asked.append((sessions, texts))
        return [[None if one in self._unknown else self._reward for one in each] for each in texts]


class LengthSays(Says):
    """Finds long texts worth more."""

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        return [
            [PreferenceReward(value=len(one) / 10, margin=len(one)) for one in each]
            for each in texts
        ]


def close(reward: PreferenceReward | None, value: float, margin: float) -> bool:
    return reward is not None and reward.order == pytest.approx((value, margin))


async def test_values_and_margins_are_weighted_means() -> None:
    model: RewardModel = MixedRewardModel([(Says(0.8, 2.0), 3.0), (Says(0.4, -2.0), 1.0)])
    rewards = await model.score(SESSIONS, TEXTS)
    assert [len(each) for each in rewards] == [2, 0, 1]
    assert all(close(one, 0.7, 1.0) for each in rewards for one in each)


async def test_each_text_has_what_was_said_of_it() -> None:
    asked = Says(0.5, 1.0)
    rewards = await MixedRewardModel([(LengthSays(0), 1), (asked, 1)]).score(SESSIONS, TEXTS)
    assert asked.asked == [(SESSIONS, TEXTS)]
    found = [one.value for each in rewards for one in each if one is not None]
    assert found == pytest.approx([0.3, 0.35, 0.4])
    assert close(rewards[2][0], 0.4, 2.0)


async def test_one_model_alone_says_what_it_says() -> None:
    rewards = await MixedRewardModel([(Says(0.3, 0.2), 7.0)]).score(SESSIONS, TEXTS)
    assert close(rewards[0][0], 0.3, 0.2)
    assert await MixedRewardModel([(Says(0.3), 1.0)]).score([], []) == []


async def test_what_one_model_could_not_find_out_is_not_known() -> None:
    models = [(Says(0.8, unknown=["yy"]), 1.0), (Says(0.4, unknown=["zzz"]), 1.0)]
    first, nothing, last = await MixedRewardModel(models).score(SESSIONS, TEXTS)
    assert close(first[0], 0.6, 0.0)
    assert (first[1:], nothing, last) == ([None], [], [None])


async def test_rounding_takes_no_value_beyond_its_bounds() -> None:
    for count in range(1, 40):
        models = [(Says(1.0), 0.1 * (n + 1)) for n in range(count)]
        [[reward]] = await MixedRewardModel(models).score(SESSIONS[:1], [["x"]])
        assert close(reward, 1.0, 0.0)


async def test_models_are_asked_at_the_same_time() -> None:
    met = asyncio.Barrier(2)

    class Meeting(Says):
        async def score(
            self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
        ) -> list[list[PreferenceReward | None]]:
            await asyncio.wait_for(met.wait(), timeout=5)
            return await super().score(sessions, texts)

    model = MixedRewardModel([(Meeting(0.2), 1.0), (Meeting(0.4), 1.0)])
    rewards = await model.score(SESSIONS, TEXTS)
    assert close(rewards[0][0], 0.3, 0.0)


async def test_a_failure_of_one_is_that_of_the_mixture() -> None:
    class Spent(Says):
        async def score(
            self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
        ) -> list[list[PreferenceReward | None]]:
            raise ModelCallError("nothing is left", kind="budget_spent")

    with pytest.raises(ModelCallError, match="nothing is left"):
        await MixedRewardModel([(Says(0.2), 1.0), (Spent(0.4), 1.0)]).score(SESSIONS, TEXTS)


def test_the_hash_is_over_models_and_shares() -> None:
    def hashed(*models: tuple[Says, float]) -> str:
        return MixedRewardModel(models).parameter_hash

    one, other = Says(0.1), Says(0.2)
    found = {
        hashed((one, 1)),
        hashed((other, 1)),
        hashed((one, 1), (other, 1)),
        hashed((one, 1), (other, 2)),
        hashed((one, 1), (one, 1)),
    }
    assert len(found) == 5
    # Weights count as shares.
    assert hashed((one, 2), (other, 2)) == hashed((one, 0.5), (other, 0.5))
    assert hashed((one, 1)) == hashed((one, 3))


@pytest.mark.parametrize("weights", [[], [0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_a_mixture_of_nothing_is_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one reward model, and weights above 0"):
        MixedRewardModel([(Says(0.5), weight) for weight in weights])


def session(number: int) -> Session:
    return Session(session_id=f"s{number}", items=("a",), target="b", candidates=("b", "c"))


class Slow:
    """Takes a while, and is worth the length of the text."""

    parameter_hash = "slow"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward]]:
        self.sizes.append(len(sessions))
        await asyncio.sleep(0.01)
        if any(one.session_id == "s13" for one in sessions):
            raise ValueError("13 is unlucky")
        return [[PreferenceReward(value=len(one) / 100) for one in each] for each in texts]


async def test_many_callers_share_few_passes_and_get_their_own() -> None:
    slow = Slow()
    model = BatchedRewardModel(slow)
    asked = [model.score([session(n)], [["x" * n, "y"]]) for n in range(12)]
    answers = await asyncio.gather(*asked)
    assert [each[0][0].value for each in answers] == [n / 100 for n in range(12)]
    assert slow.sizes == [12]
    assert model.parameter_hash == "slow"
    assert await model.score([session(1)], [["x"]]) == [[PreferenceReward(value=0.01)]]


async def test_a_callers_fault_is_that_callers_alone() -> None:
    model = BatchedRewardModel(Slow())
    asked = [model.score([session(n)], [["x"]]) for n in range(12, 15)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[1], ValueError)
    assert answers[0] == answers[2] == [[PreferenceReward(value=0.01)]]


async def test_who_is_cancelled_costs_the_others_nothing() -> None:
    model = BatchedRewardModel(Slow())
    tasks = [asyncio.create_task(model.score([session(n)], [["x"]])) for n in range(3)]
    await asyncio.sleep(0.001)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1] == answers[2] == [[PreferenceReward(value=0.01)]]
    with pytest.raises(ValueError, match="unlucky"):
        await model.score([session(13)], [["x"]])
