"""A reward that several reward models have a share in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

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
