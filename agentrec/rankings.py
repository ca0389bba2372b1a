"""What comes back to the user: candidates, ranked, each of them valid and unique."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Ranking(BaseModel):
    """An ordered list of recommended items.

    Attributes:
        session_id: The session it is for.
        item_ids: Best first, unique, all of them candidates of the session.
        hint_id: The hint it was made with, ``None`` for none.
        backfilled: How many of the items, from the end, the model did not name itself.
        illegal: How many lines of the model's answer named no candidate, or one twice.
        repaired: Whether the model had to be asked a second time.
        structured: Whether the model's answer was read as JSON.
        notes: What a person should know about how it came about, one line each.
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
        """1-based place of an item, ``None`` if it is not in the list."""
        return self.item_ids.index(item_id) + 1 if item_id in self.item_ids else None
