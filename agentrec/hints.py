"""Hints: short advice that an LLM wrote after an error, and a policy's choice among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from statistics import NormalDist, fmean, stdev
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.catalog import clean_text

MAX_HINT_LENGTH = 300

HintState = Literal["nominated", "admitted", "retired"]
"""``nominated``: repaired the error it came from, nothing else is known. ``admitted``: in use.
``retired``: kept as a record, never used."""

STATES: tuple[HintState, ...] = get_args(HintState)

ADMITTED: tuple[HintState, ...] = ("admitted",)


class HintProvenance(BaseModel):
    """Where a hint comes from.

    Attributes:
        session_id: The training session whose error led to it.
        model: The language model that wrote it.
        prompt_hash: Hash of the prompt set it was written with.
        run: Name of the run it was written in.
        diagnosis: The model's diagnosis of the error.
        ndcg_before: NDCG@10 of the session without the hint, 0 to 1.
        ndcg_after: NDCG@10 of the same session with the hint, 0 to 1. The model had seen the
            target when it wrote the hint, so this is no evidence of a gain.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    model: str
    prompt_hash: str
    run: str = ""
    diagnosis: str = ""
    ndcg_before: float = Field(ge=0, le=1)
    ndcg_after: float = Field(ge=0, le=1)


class HintEvidence(BaseModel):
    """The effects of a hint on sessions other than the one it came from.

    Attributes:
        sessions: Number of training sessions it was tried on.
        mean_gain: Mean of NDCG@10 with the hint minus without, -1 to 1.
        low: Lower end of its one-sided interval (normal approximation).
        wins: Sessions it made better.
        losses: Sessions it made worse.
        model: The language model that was measured.
        effects: Gain on each session, by its id; empty if only the summary is known.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int = Field(ge=1)
    mean_gain: float = Field(ge=-1, le=1)
    low: float
    wins: int = Field(ge=0)
    losses: int = Field(ge=0)
    model: str = ""
    effects: Mapping[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, effects: Mapping[str, float], model: str = "", confidence: float = 0.9) -> Self:
        """Summarise measured gains.

        Args:
            effects: Gain on each session, by its id; at least one.
            model: The language model that was measured.
            confidence: Of the one-sided lower bound, above 0.5 to below 1.
        """
        gains = list(effects.values())
        # One session says nothing about the spread: the bound is as low as a gain can be.
        error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 1.0
        return cls(
            sessions=len(gains),
            mean_gain=fmean(gains),
            low=fmean(gains) - NormalDist().inv_cdf(confidence) * error,
            wins=sum(gain > 0 for gain in gains),
            losses=sum(gain < 0 for gain in gains),
            model=model,
            effects=dict(effects),
        )

    @property
    def ties(self) -> int:
        """Sessions on which it changed nothing."""
        return self.sessions - self.wins - self.losses

    @property
    def harm_rate(self) -> float:
        """Share of sessions that it made worse, 0 to 1."""
        return self.losses / self.sessions


class HintEmbedding(BaseModel):
    """The embedding model of a stored hint's vector.

    Attributes:
        model: Name of the embedding model, as in the settings.
        dimension: Length of the vector.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    dimension: int = Field(ge=1)


class Hint(BaseModel):
    """One piece of advice for the recommending model.

    Attributes:
        text: One line without control characters, capped.
        namespace: The catalogue it is about. The same text in another namespace is another hint.
        state: Whether it may be used.
        version: 1 when added; a store increases it with every change.
        provenance: Where it comes from; ``None`` if a person wrote it.
        evidence: Its effects on other sessions; ``None`` if it was not tried.
        embedding: The embedding model of its vector, if a store knows it.
        replaces: Id of the hint whose text was edited into this one.
        merged_into: Id of the hint that replaces this one as its equivalent.
        reason: The reason for its state, in a few words.
    """

    model_config = ConfigDict(frozen=True)

    text: str = Field(min_length=1)
    namespace: str = Field(default="", max_length=64, pattern=r"^[\w.-]*$")
    state: HintState = "admitted"
    version: int = Field(default=1, ge=1)
    provenance: HintProvenance | None = None
    evidence: HintEvidence | None = None
    embedding: HintEmbedding | None = None
    replaces: str | None = None
    merged_into: str | None = None
    reason: str = Field(default="", max_length=300)

    @field_validator("text")
    @classmethod
    def _one_safe_line(cls, text: str) -> str:
        cleaned = clean_text(text, MAX_HINT_LENGTH)
        if not cleaned:
            raise ValueError("has no visible character")
        return cleaned

    @property
    def hint_id(self) -> str:
        """Content-derived id: the same text in any case is the same hint.

        Texts never change: an edited hint is another one that ``replaces`` this one. What was
        measured for an id stays true.
        """
        return _hint_id(self.text, self.namespace)


# Every session asks for the ids of all hints it is offered, several times.
@lru_cache(maxsize=4096)
def _hint_id(text: str, namespace: str) -> str:
    content = text.casefold()
    if namespace:
        content = f"{namespace}\n{content}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Revision(BaseModel):
    """A change to a knowledge base.

    Attributes:
        number: 1 for the first change, then counting up.
        at: The time, with time zone.
        note: What changed, in a few words.
        hint_ids: The hints that were added or changed.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    at: datetime
    note: str
    hint_ids: tuple[str, ...]


# A dataclass without validation: a search makes thousands of these from valid hints.
@dataclass(frozen=True, slots=True)
class ScoredHint:
    """A hint found by a search.

    Attributes:
        hint: The hint.
        similarity: Cosine of its vector and the query, -1 to 1.
        vector: Its stored unit vector, ``[dimension]``; empty if the store does not return it.
    """

    hint: Hint
    similarity: float
    vector: tuple[float, ...] = field(default=(), repr=False)


class HintChoice(BaseModel):
    """A policy's choice for one session.

    Attributes:
        hint_id: The chosen hint, or ``None`` for "no hint", which is always an option.
        log_probability: Natural log of the probability of the choice, at most 0.
        value: The reward (NDCG@10 gain over no hint, -1 to 1) that the policy's critic predicts.
    """

    model_config = ConfigDict(frozen=True)

    hint_id: str | None
    log_probability: float = Field(le=1e-6)
    value: float = 0.0
