from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentrec.policies.reward_model.batching import BatchedRewardModel
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session


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
