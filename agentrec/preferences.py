"""Texts in which an LLM states a user's preferences, their rewards, and preference pairs."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentrec.catalog import clean_text

MAX_PREFERENCE_LENGTH = 4_000

PairKind = Literal["reward", "structure"]
"""``reward``: both texts are well-formed, and the chosen one has the higher reward.
``structure``: the rejected text is the chosen one in broken form, a kind
that only files of earlier versions hold."""


class PreferenceReward(BaseModel):
    """The reward of a text: how well a recommender ranks with it.

    Attributes:
        value: Mean of NDCG@K and MAP@K of the target in the ranking with the text, 0 to 1.
        margin: Log-probability of the target with the text minus without it, in nats. It breaks
            ties: with one target most values are equal.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    value: float = Field(ge=0, le=1)
    margin: float = 0.0

    @property
    def order(self) -> tuple[float, float]:
        """The sort key of rewards: the value, then the margin."""
        return self.value, self.margin


class PreferenceText(BaseModel):
    """A text that a model wrote about the user of a session.

    Attributes:
        session_id: The session.
        sample: Number of the text among those of the session, from 0.
        text: The text: lines without control characters, not empty, cut at 4,000 characters.
        reward: Its reward; ``None`` if unknown.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str = Field(min_length=1)
    sample: int = Field(ge=0)
    text: str = Field(min_length=1)
    reward: PreferenceReward | None = None

    @field_validator("text")
    @classmethod
    def _safe_lines(cls, text: str) -> str:
        return clean_lines(text)


class ChatTurn(BaseModel):
    """A message of a prompt, in the form of training libraries.

    Attributes:
        role: The speaker.
        content: The text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class PairProvenance(BaseModel):
    """Where a pair comes from.

    Attributes:
        model: The language model that wrote the texts.
        reward_model: Parameter hash of the reward model.
        prompt_hash: Hash of the prompt set they were written with.
        temperature: Sampling temperature, at least 0.
        samples: Number of texts written for the session, at least 1.
        seed: Seed of the sampling, at least 0; ``None`` if unknown.
        broken: How the rejected text of a structure pair was broken; empty for any other pair.
        run: Name of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    reward_model: str = ""
    prompt_hash: str = ""
    temperature: float = Field(default=0.0, ge=0)
    samples: int = Field(default=1, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    broken: str = ""
    run: str = ""


class PreferencePair(BaseModel):
    """Two texts that answer one prompt: one that helped a recommender more, and one less.

    Attributes:
        session_id: The session.
        user_id: The user; empty if unknown.
        kind: Why one is chosen over the other.
        prompt: The prompt; its last turn is the user's.
        chosen: The better text.
        rejected: The worse text, another one.
        chosen_reward: Reward of the better text.
        rejected_reward: Reward of the worse text; ``None`` if it has none.
        provenance: Where it comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: str = Field(min_length=1)
    user_id: str = ""
    kind: PairKind = "reward"
    prompt: tuple[ChatTurn, ...] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    chosen_reward: PreferenceReward
    rejected_reward: PreferenceReward | None = None
    provenance: PairProvenance

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if self.prompt[-1].role != "user":
            raise ValueError("the last turn of a prompt must be the user's")
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        worse = self.rejected_reward
        if self.kind == "reward" and (worse is None or worse.order >= self.chosen_reward.order):
            raise ValueError("the chosen text needs a higher reward than the rejected one")
        return self

    @property
    def pair_id(self) -> str:
        """Content-derived id: of session, kind, prompt and texts."""
        content = [
            self.session_id,
            self.kind,
            [[turn.role, turn.content] for turn in self.prompt],
            self.chosen,
            self.rejected,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def gap(self) -> float | None:
        """Difference of the two values, 0 to 1; ``None`` without a second reward."""
        if self.rejected_reward is None:
            return None
        return self.chosen_reward.value - self.rejected_reward.value


def clean_lines(text: str, longest: int = MAX_PREFERENCE_LENGTH) -> str:
    """Return a text without control characters and empty lines.

    Args:
        text: Anything a model wrote.
        longest: Most characters to keep, at least 1.
    """
    lines = (clean_text(line, longest) for line in text.splitlines())
    return "\n".join(line for line in lines if line)[:longest].rstrip()
