"""Rankings: the recommended candidates of a session, each valid and unique."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Ranking(BaseModel):
    """An ordered list of recommended items.

    Attributes:
        session_id: The session it is for.
        item_ids: Candidates of the session, unique, best first.
        hint_id: The hint it was made with; ``None`` for no hint.
        backfilled: Number of items at the end that the model did not name.
        illegal: Number of lines of the answer that named no candidate, or one twice.
        repaired: Whether the model was asked a second time.
        structured: Whether the answer was read as JSON.
        notes: Remarks for people on how it was made, one line each.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    item_ids: tuple[str, ...] = Field(min_length=1)
    hint_id: str | None = None
    backfilled: int = Field(default=0, ge=0)
    illegal: int = Field(default=0, ge=0)
    repaired: bool = False
    structured: bool = False
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Ranking:
        if len(set(self.item_ids)) != len(self.item_ids):
            raise ValueError("a ranking names an item twice")
        return self

    def rank_of(self, item_id: str) -> int | None:
        """Return the 1-based rank of an item; ``None`` if it is not in the ranking."""
        return self.item_ids.index(item_id) + 1 if item_id in self.item_ids else None
