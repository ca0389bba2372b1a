"""A reward that several reward models have a share in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agentrec.contracts import RewardModel
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session


class MixedRewardModel:
    """The weighted mean of what several reward models say, of values and of margins.

    Args:
        models: Who is asked, each with its weight, above 0; at least one. They are asked at the
            same time.

    Raises:
        ValueError: If there is none, or a weight is not above 0.
    """

    def __init__(self, models: Sequence[tuple[RewardModel, float]]) -> None:
        if not models or any(not weight > 0 for _, weight in models):
            raise ValueError("a mixture needs at least one reward model, and weights above 0")
        total = sum(weight for _, weight in models)
        self._models = [(model, weight / total) for model, weight in models]

    @property
    def parameter_hash(self) -> str:
        """Over all models and weights."""
        told = [f"{model.parameter_hash} {weight:.9g}" for model, weight in self._models]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        """Say what texts are worth; see ``RewardModel.score``."""
        said = await asyncio.gather(*(model.score(sessions, texts) for model, _ in self._models))
        return [
            [
                self._mean([of_model[row][column] for of_model in said])
                for column in range(len(texts[row]))
            ]
            for row in range(len(sessions))
        ]

    def _mean(self, said: Sequence[PreferenceReward | None]) -> PreferenceReward | None:
        value = margin = 0.0
        for one, (_, weight) in zip(said, self._models, strict=True):
            if one is None:
                return None
            value += weight * one.value
            margin += weight * one.margin
        # The last bits of a sum may lie beyond 1.
        return PreferenceReward(value=min(value, 1.0), margin=margin)


MOST_TEXTS = 4_096

_Rewards = Sequence[Sequence[PreferenceReward | None]]


@dataclass(frozen=True, eq=False)
class _Request:
    sessions: Sequence[Session]
    texts: Sequence[Sequence[str]]
    answer: asyncio.Future[_Rewards]


class BatchedRewardModel:
    """Whatever is asked while a pass is being computed goes into the next one.

    To be used from one event loop. Who is cancelled while waiting costs the others nothing.

    Args:
        model: What scores.
    """

    def __init__(self, model: RewardModel) -> None:
        self._model = model
        self._waiting: list[_Request] = []
        self._working: asyncio.Task[None] | None = None
        self.passes = 0

    @property
    def parameter_hash(self) -> str:
        """That of what scores."""
        return self._model.parameter_hash

    async def score(self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]) -> _Rewards:
        """Say what texts are worth; see ``RewardModel.score``."""
        request = _Request(sessions, texts, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await request.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                # Who is ready to ask in this turn of the loop asks first.
                await asyncio.sleep(0)
                await self._pass(self._taken())
        finally:
            self._working = None

    def _taken(self) -> list[_Request]:
        """What goes into the next pass: at least one request, and no more texts than fit."""
        taken: list[_Request] = []
        texts = 0
        while self._waiting and (not taken or texts < MOST_TEXTS):
            request = self._waiting.pop(0)
            texts += sum(map(len, request.texts))
            if not request.answer.done():
                taken.append(request)
        return taken

    async def _pass(self, requests: Sequence[_Request]) -> None:
        if not requests:
            return
        self.passes += 1
        try:
            rewards = await self._model.score(
                [one for request in requests for one in request.sessions],
                [one for request in requests for one in request.texts],
            )
        except Exception as error:
            if len(requests) == 1:
                _fail(requests[0], error)
                return
            # One of them is at fault: the others must not pay for it.
            for request in requests:
                await self._pass([request])
            return
        start = 0
        for request in requests:
            end = start + len(request.sessions)
            if not request.answer.done():
                request.answer.set_result(rewards[start:end])
            start = end


def _fail(request: _Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
