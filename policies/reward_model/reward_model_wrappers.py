"""Reward models made of others: a weighted mean of several, and one that batches its callers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agentrec.contracts import RewardModel
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session

MAX_TEXTS = 4_096

_Rewards = Sequence[Sequence[PreferenceReward | None]]


class MixedRewardModel:
    """The weighted mean of several reward models, of values and of margins.

    Args:
        models: The models, each with its weight, above 0; at least one. They score concurrently.

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
        """SHA-256 over all models and weights."""
        lines = [f"{model.parameter_hash} {weight:.9g}" for model, weight in self._models]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        """Score texts; see ``RewardModel.score``."""
        scored = await asyncio.gather(*(model.score(sessions, texts) for model, _ in self._models))
        return [
            [
                self._mean([rewards[row][column] for rewards in scored])
                for column in range(len(texts[row]))
            ]
            for row in range(len(sessions))
        ]

    def _mean(self, rewards: Sequence[PreferenceReward | None]) -> PreferenceReward | None:
        value = margin = 0.0
        for one, (_, weight) in zip(rewards, self._models, strict=True):
            if one is None:
                return None
            value += weight * one.value
            margin += weight * one.margin
        # The last bits of a sum may lie beyond 1.
        return PreferenceReward(value=min(value, 1.0), margin=margin)


@dataclass(frozen=True, eq=False)
class _Request:
    sessions: Sequence[Session]
    texts: Sequence[Sequence[str]]
    answer: asyncio.Future[_Rewards]


class BatchedRewardModel:
    """Answers many callers in few passes: requests made during a pass go into the next one.

    It belongs to one event loop. A caller that is cancelled while waiting costs the others nothing.

    Args:
        model: The model that scores.
    """

    def __init__(self, model: RewardModel) -> None:
        self._model = model
        self._waiting: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None
        self.passes = 0

    @property
    def parameter_hash(self) -> str:
        """That of the model."""
        return self._model.parameter_hash

    async def score(self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]) -> _Rewards:
        """Score texts; see ``RewardModel.score``."""
        request = _Request(sessions, texts, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await request.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                # Callers that are ready in this turn of the loop join the pass.
                await asyncio.sleep(0)
                await self._pass(self._next_batch())
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Request]:
        """Take at least one request, and no more texts than fit."""
        batch: list[_Request] = []
        texts = 0
        while self._waiting and (not batch or texts < MAX_TEXTS):
            request = self._waiting.pop(0)
            texts += sum(map(len, request.texts))
            if not request.answer.done():
                batch.append(request)
        return batch

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
            if len(requests) > 1:
                # One of them is at fault: the others must not pay for it.
                for request in requests:
                    await self._pass([request])
            elif not requests[0].answer.done():
                requests[0].answer.set_exception(error)
            return
        start = 0
        for request in requests:
            end = start + len(request.sessions)
            if not request.answer.done():
                request.answer.set_result(rewards[start:end])
            start = end
