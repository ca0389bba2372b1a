"""What a log of user behaviour is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interaction:
    """One user did something with one item.

    Attributes:
        user_id: Who.
        item_id: With what; an id of the catalogue.
        timestamp: When, in whole seconds since 1970-01-01 UTC.
    """

    user_id: str
    item_id: str
    timestamp: int
