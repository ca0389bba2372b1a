"""What a hint must not be, whoever wrote it."""

from __future__ import annotations

import html
import re
from typing import Literal

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.form import holds_control, holds_markup, is_sentence
from agentrec.graphs.hint_checks.injection import gives_orders
from agentrec.graphs.hint_checks.normalization import digits_as_letters, readings_of, words_of
from agentrec.graphs.hint_checks.target_leak import names_target
from agentrec.graphs.hint_checks.title_mention import index_of, names_id, names_title
from agentrec.hints import MAX_HINT_LENGTH
from agentrec.sessions import Session

RefusalReason = Literal[
    "empty",
    "too long",
    "names the target",
    "names another title",
    "names a handle",
    "names an id",
    "holds markup",
    "gives orders to the model",
    "holds control characters",
    "is not a sentence",
    "does not repair the error",
    "does not help on other sessions",
    "says what a stored hint says",
    "knowledge base is full",
]

# ASCII neighbours only: in Chinese nothing parts a handle from the next word.
_HANDLE = re.compile(
    r"(?<![a-z0-9])c(?:\d{1,4}|[ ._#:\-\[\]()]{1,2}\d{2,3})(?![a-z0-9])"
    r"|\b(?:candidate|option|handle|entry)s?\s*(?:no\.?|number|#)?\s*#?\d",
    re.IGNORECASE,
)


def refusal_of(text: str, session: Session, catalog: Catalog) -> RefusalReason | None:
    """Say why a proposed hint may not be tried, or ``None`` if it may.

    Of several reasons the first of these: its length, a leak, what is not for this model to be
    told, its form. A title is found however cased, accented, punctuated, spaced or spelled in
    look-alikes, without its year, and with its article in its other place; that of the target
    also misspelt, reversed, or with its words in another order.

    The first check against a catalogue reads all of it, seconds where it has 100,000 items:
    ``prepare`` does that beforehand.

    Args:
        text: The proposal.
        session: The session whose error it comes from, with its target.
        catalog: The items.
    """
    if len(text) > MAX_HINT_LENGTH:
        # Before anything else is looked at: all that follows takes time with the length.
        return "too long"
    # Some models write an apostrophe as a reference, others a title's letters.
    readings = readings_of(html.unescape(text))
    if not any(map(words_of, readings)):
        # Emoji are no words, but there is something to see.
        return "is not a sentence" if any(map(_pictured, text)) else "empty"
    return (
        _leak(readings, session, catalog)
        or _fault(text, readings)
        or _other_title(readings, catalog)
        or (None if is_sentence(text) else "is not a sentence")
    )


def prepare(catalog: Catalog) -> None:
    """Read a catalogue for later checks; may be called in any thread, and again for nothing."""
    index_of(catalog)


def _leak(readings: tuple[str, ...], session: Session, catalog: Catalog) -> RefusalReason | None:
    index = index_of(catalog)
    if _HANDLE.search(readings[0]):
        return "names a handle"
    if session.target is not None:
        for reading in (*readings, *digits_as_letters(readings[-1])):
            if names_target(reading, session.target, catalog, index):
                return "names the target"
    return "names an id" if names_id(readings[0], index) else None


def _fault(text: str, readings: tuple[str, ...]) -> RefusalReason | None:
    if holds_control(text):
        return "holds control characters"
    if any(map(gives_orders, readings)):
        return "gives orders to the model"
    return "holds markup" if holds_markup(text) else None


def _other_title(readings: tuple[str, ...], catalog: Catalog) -> RefusalReason | None:
    index = index_of(catalog)
    named = any(names_title(reading, index) for reading in readings)
    return "names another title" if named else None


def _pictured(char: str) -> bool:
    return ord(char) > 0x2BFF and not char.isspace()
