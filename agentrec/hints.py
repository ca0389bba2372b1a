"""Short imperative sentences an LLM wrote after an error, and a policy's choice among them."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.catalog import clean_text

MAX_HINT_LENGTH = 300


class HintProvenance(BaseModel):
    """Where a hint comes from.

    Attributes:
        session_id: The training session whose error led to it.
        model: The language model that wrote it.
        prompt_hash: Hash of the prompt set it was written with.
        diagnosis: What the model said about the error.
        ndcg_before: NDCG@10 of the session without the hint, 0 to 1.
        ndcg_after: NDCG@10 of the same session with the hint, 0 to 1. The model had seen the
            target when it wrote the hint: a nomination, never evidence of a gain.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    model: str
    prompt_hash: str
    diagnosis: str = ""
    ndcg_before: float = Field(ge=0, le=1)
    ndcg_after: float = Field(ge=0, le=1)


class HintEvidence(BaseModel):
    """What a hint did on sessions other than the one it came from.

    Attributes:
        sessions: How many training sessions it was tried on.
        mean_gain: Mean of NDCG@10 with the hint minus without, -1 to 1.
        low: Lower end of its one-sided 90 % interval (normal approximation).
        wins: Sessions it made better.
        losses: Sessions it made worse.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int = Field(ge=1)
    mean_gain: float = Field(ge=-1, le=1)
    low: float
    wins: int = Field(ge=0)
    losses: int = Field(ge=0)


class Hint(BaseModel):
    """One piece of advice for the recommending model.

    Attributes:
        text: One line, control characters removed, capped.
        provenance: Where it comes from; ``None`` for one written by a person.
        evidence: What it did on other sessions; ``None`` where it was not tried on any.
    """

    model_config = ConfigDict(frozen=True)

    text: str = Field(min_length=1)
    provenance: HintProvenance | None = None
    evidence: HintEvidence | None = None

    @field_validator("text")
    @classmethod
    def _one_safe_line(cls, text: str) -> str:
        cleaned = clean_text(text, MAX_HINT_LENGTH)
        if not cleaned:
            raise ValueError("has no visible character")
        return cleaned

    @property
    def hint_id(self) -> str:
        """Content-derived identity: the same text, however cased, is the same hint."""
        return hashlib.sha256(self.text.casefold().encode()).hexdigest()[:16]


class ScoredHint(BaseModel):
    """A hint found by a search, with its cosine similarity to the query (-1 to 1)."""

    model_config = ConfigDict(frozen=True)

    hint: Hint
    similarity: float


class HintChoice(BaseModel):
    """What a policy chose for one session.

    Attributes:
        hint_id: The chosen hint, or ``None`` for "no hint", which is always an option.
        log_probability: Natural log of the probability with which it was chosen, at most 0.
        value: Expected reward (NDCG@10 gain over no hint, -1 to 1) the policy's critic predicts
            for this session.
    """

    model_config = ConfigDict(frozen=True)

    hint_id: str | None
    log_probability: float = Field(le=1e-6)
    value: float = 0.0
