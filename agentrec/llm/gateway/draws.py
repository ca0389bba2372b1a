"""Answers drawn at a temperature, several to one question."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

_SEEDS = 2**31


@dataclass(frozen=True)
class Draw:
    """How one answer of several is drawn.

    Attributes:
        temperature: At least 0. Larger: texts that differ more, and are worse on average.
        seed: Of the draw, where the provider takes one.

    Raises:
        ValueError: If the temperature is below 0.
    """

    temperature: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is at least 0, not {self.temperature}")

    @property
    def told(self) -> str:
        """What of it decides an answer, for the key of a request."""
        return f"temperature {self.temperature:g}, seed {self.seed}"

    def made_by(self, model: BaseChatModel) -> BaseChatModel:
        """A model that answers so, sharing the client of the one given.

        A model that has no such parameter stays as it is in that respect: some providers take no
        seed, some models no temperature.
        """
        fields = type(model).model_fields
        wanted = {"temperature": self.temperature, "seed": self.seed}
        known = {name: value for name, value in wanted.items() if name in fields}
        return model.model_copy(update=known)


def seed_of(seed: int, session_id: str, sample: int) -> int:
    """A seed of its own for every text of every session, 0 to 2**31 - 1."""
    content = f"{seed}\n{sample}\n{session_id}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % _SEEDS
