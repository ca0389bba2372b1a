"""Schemas of structured answers; the model sees every description here.

The same answers in plain lines are parsed as well: a schema helps a model, and is never required.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RankedCandidates(BaseModel):
    """The candidates that the user is most likely to choose next, most likely first."""

    model_config = ConfigDict(extra="forbid")

    ranking: list[str] = Field(
        description=(
            "Handles of candidates, such as C07, most likely first; as many as are asked for, "
            "none twice, and none that is not in <candidates>."
        )
    )


class ProposedHints(BaseModel):
    """Hints that would have led the recommender to the target."""

    model_config = ConfigDict(extra="forbid")

    hints: list[str] = Field(
        description=(
            "Hints, each one short imperative sentence on one cause, without the name of any "
            "item, title, handle or id; no more than are asked for."
        )
    )


class StatedPreferences(BaseModel):
    """What the user prefers, as far as the history tells."""

    model_config = ConfigDict(extra="forbid")

    preferences: list[str] = Field(
        description=(
            'One text a factor, in the form "factor: preference (evidence)": a factor from '
            "<factors> as it is written there, in a few words what the user prefers, and in "
            "brackets what in the history shows it."
        )
    )


class FollowUpQuestion(BaseModel):
    """A question to the user."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(
        description=(
            "The one short question whose answer would best tell which of the candidates to "
            "recommend, without the title or the handle of any."
        )
    )
