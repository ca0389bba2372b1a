"""Sessions: what a user did, in time order, and the candidates for what comes next."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Session(BaseModel):
    """One session of one user.

    Attributes:
        session_id: Its id, unique in its data set.
        items: Item ids the user interacted with, oldest first, at least one.
        target: The item that came next; ``None`` where it is not known (live use).
        candidates: Item ids to rank, each once; empty where none were given. They contain the
            target if there is one.
        user_id: The user, ``None`` where not known. Never in a prompt: it counts the sessions of
            a user and keeps them on one side of a split.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str = Field(min_length=1)
    items: tuple[str, ...] = Field(min_length=1)
    target: str | None = None
    candidates: tuple[str, ...] = ()
    user_id: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Session:
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("candidates name an item twice")
        if self.target is not None and self.candidates and self.target not in self.candidates:
            raise ValueError("target is not among the candidates")
        return self
