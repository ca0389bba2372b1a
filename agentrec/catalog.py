"""Items by id. A title is shown to models and people; it is never an identity."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, field_validator

AttributeValue = str | int | float | tuple[str, ...]

MAX_TITLE_LENGTH = 200


def clean_text(text: str, max_length: int) -> str:
    """Turn foreign text into one safe line: no control characters, no line breaks, capped.

    Args:
        text: Anything from outside: a title, a user's message, a stored hint.
        max_length: Most characters of the result; a cut is marked with an ellipsis.

    Returns:
        The text in Unicode form NFC with every run of white space, control and format
        characters folded to one space.
    """
    visible = "".join(
        " " if unicodedata.category(char).startswith(("C", "Z")) else char
        for char in unicodedata.normalize("NFC", text)
    )
    line = " ".join(visible.split())
    return line if len(line) <= max_length else line[: max_length - 1].rstrip() + "…"


class Item(BaseModel):
    """One thing that can be recommended.

    Attributes:
        item_id: Its identity, unique in the catalogue.
        title: What people read; need not be unique.
        attributes: Anything else, by name: a text, a number, or several texts.
    """

    model_config = ConfigDict(frozen=True)

    item_id: str = Field(min_length=1)
    title: str = Field(min_length=1)
    attributes: Mapping[str, AttributeValue] = Field(default_factory=dict)

    @field_validator("title")
    @classmethod
    def _one_safe_line(cls, title: str) -> str:
        cleaned = clean_text(title, MAX_TITLE_LENGTH)
        if not cleaned:
            raise ValueError("has no visible character")
        return cleaned


class Catalog(Mapping[str, Item]):
    """All items, in a fixed order, by id.

    Args:
        items: The items; the order is kept.

    Raises:
        ValueError: If there are no items or an id occurs twice.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items: dict[str, Item] = {}
        for item in items:
            if item.item_id in self._items:
                raise ValueError(f"item id {item.item_id!r} occurs twice")
            self._items[item.item_id] = item
        if not self._items:
            raise ValueError("a catalogue needs at least one item")

    # By identity, so that a catalogue can be a key; content_hash compares content.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getitem__(self, item_id: str) -> Item:
        return self._items[item_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """All ids, in catalogue order."""
        return tuple(self._items)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Index of each id in ``item_ids``."""
        return {item_id: position for position, item_id in enumerate(self._items)}

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """A unique line of text for each item: its title, disambiguated where titles repeat.

        Items that share a title get their numeric attributes appended ("Heat (1995)") and, where
        even those agree, a running number ("Heat (1995) #2").
        """
        repeated = {
            title for title, n in Counter(i.title for i in self._items.values()).items() if n > 1
        }
        labels: dict[str, str] = {}
        taken: set[str] = {i.title for i in self._items.values() if i.title not in repeated}
        for item in self._items.values():
            label = item.title
            if label in repeated:
                known = [
                    str(value)
                    for _, value in sorted(item.attributes.items())
                    if isinstance(value, (int, float))
                ]
                label = f"{label} ({', '.join(known)})" if known else label
                base, number = label, 1
                while label in taken:
                    number += 1
                    label = f"{base} #{number}"
                taken.add(label)
            labels[item.item_id] = label
        return labels

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 over every item's id, title and attributes, in order."""
        digest = hashlib.sha256()
        for item in self._items.values():
            row = [item.item_id, item.title, sorted(item.attributes.items())]
            digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()
