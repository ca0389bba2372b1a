"""Texts in which an LLM says what a user prefers, what they are worth, and pairs of them."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentrec.catalog import clean_text

MAX_PREFERENCE_LENGTH = 4_000

PairKind = Literal["reward", "structure"]
"""``reward``: both texts are whole, and the recommender was helped more by the chosen one.
``structure``: the rejected text is the chosen one with its form broken."""


class PreferenceReward(BaseModel):
    """What a text is worth to a recommender that is told it.

    Attributes:
        value: Mean of NDCG@K and MAP@K of the target in the ranking with the text, 0 to 1.
        margin: Log-probability of the target with the text minus without it, in nats: the
            tie-break, for with one target most values are equal.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    value: float = Field(ge=0, le=1)
    margin: float = 0.0

    @property
    def order(self) -> tuple[float, float]:
        """What rewards are compared by: the value, then the margin."""
        return self.value, self.margin


class PreferenceText(BaseModel):
    """One text that a model wrote about the user of a session.

    Attributes:
        session_id: The session.
        sample: Which of the texts written for it, from 0.
        text: The text: lines without control characters, not empty, cut at 4,000 characters.
        reward: What it is worth; ``None`` until somebody said so.
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
    """One message of a prompt, in the form that training libraries take.

    Attributes:
        role: Who speaks.
        content: What is said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class PairProvenance(BaseModel):
    """Where a pair comes from.

    Attributes:
        model: The language model that wrote the texts.
        reward_model: Parameter hash of what rewarded them.
        prompt_hash: Hash of the prompt set they were written with.
        temperature: Of the sampling, at least 0.
        samples: How many texts were written for the session, at least 1.
        seed: Seed that the draws of the texts come from, at least 0; ``None`` if not known.
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
    """A text that helped the recommender more, one that helped it less, and what was asked.

    Attributes:
        session_id: The session.
        user_id: Whose session it is; empty if not known. Caps count by it.
        kind: Why one is chosen over the other.
        prompt: What the model was asked, the last turn the user's.
        chosen: The better text.
        rejected: The worse text, another one.
        chosen_reward: What the better text is worth.
        rejected_reward: The same of the worse one; ``None`` for a text nobody rewarded.
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
            raise ValueError("the last turn of a prompt is the user's")
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        worse = self.rejected_reward
        if self.kind == "reward" and (worse is None or worse.order >= self.chosen_reward.order):
            raise ValueError("the chosen text is not worth more than the rejected one")
        return self

    @property
    def pair_id(self) -> str:
        """Content-derived identity: session, kind and what was asked and answered."""
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
        """Difference of the two values, 0 to 1; ``None`` for a text nobody rewarded."""
        if self.rejected_reward is None:
            return None
        return self.chosen_reward.value - self.rejected_reward.value


def clean_lines(text: str, longest: int = MAX_PREFERENCE_LENGTH) -> str:
    """A text without control characters and empty lines, its lines kept apart.

    Args:
        text: Anything a model wrote.
        longest: Characters to keep at most, at least 1.
    """
    lines = (clean_text(line, longest) for line in text.splitlines())
    return "\n".join(line for line in lines if line)[:longest].rstrip()
