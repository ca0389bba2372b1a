"""Why a proposed hint may not be tried."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.catalog_index import CatalogIndex, index_of
from agentrec.graphs.hint_checks.form import holds_control, holds_markup, is_sentence
from agentrec.graphs.hint_checks.injection import gives_orders
from agentrec.graphs.hint_checks.normalization import (
    readings_of,
    readings_of_title,
    tokens_of,
    words_of,
)
from agentrec.graphs.hint_checks.target_leak import names_target
from agentrec.graphs.hint_checks.title_mention import names_id, names_title
from agentrec.graphs.hint_checks.vocabulary import is_english
from agentrec.hints import MAX_HINT_LENGTH
from agentrec.sessions import Session

HintRejectionReason = Literal[
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
    "is not in English",
    "does not repair the error",
    "does not help on other sessions",
    "says what a stored hint says",
    "knowledge base is full",
    "harms too many sessions",
    "does what another hint does",
    "exploring had ended",
]

# ASCII neighbours only: in Chinese nothing separates a handle from the next word.
_HANDLE = re.compile(
    r"(?<![a-z0-9])c(?:\d{1,4}|[ ._#:\-\[\]()]{1,2}\d{2,3})(?![a-z0-9])"
    r"|\b(?:candidate|option|handle|entry)s?\s*(?:no\.?|number|#)?\s*#?\d",
    re.IGNORECASE,
)

_SMALLEST_ENGLISH_SHARE = 1 / 3


def rejection_of(
    text: str, session: Session, catalog: Catalog, *, english_only: bool = True
) -> HintRejectionReason | None:
    """Return why a proposed hint may not be tried, or ``None`` if it may.

    The first of several reasons counts: its length, a leak, orders and markup, its language, other
    titles, its form. A title is found however cased, accented, punctuated, spaced or spelled in
    look-alikes, without its year, and with its article moved; that of the target also misspelt,
    reversed, or with its words in another order.

    The first check against a catalogue reads all of it, which takes seconds for 100,000 items:
    call ``prepare`` beforehand.

    Args:
        text: The proposal.
        session: The session whose error it comes from, with its target.
        catalog: The items.
        english_only: Whether to reject hints of which fewer than a third of the words are English
            or words of the catalogue. Orders to the model are recognised in English alone.
    """
    if len(text) > MAX_HINT_LENGTH:
        # First of all: everything below takes time with the length.
        return "too long"
    # Some models write an apostrophe as a character reference, others a title's letters.
    readings = readings_of(html.unescape(text))
    if not any(map(words_of, readings)):
        # Emoji are no words, but they are visible.
        return "is not a sentence" if any(map(_is_pictograph, text)) else "empty"
    index = index_of(catalog)
    if (leak := _leak(readings, session, catalog, index)) is not None:
        return leak
    if holds_control(text):
        return "holds control characters"
    if any(map(gives_orders, readings)):
        return "gives orders to the model"
    if holds_markup(text):
        return "holds markup"
    if any(names_title(reading, index) for reading in readings):
        return "names another title"
    if not is_sentence(text):
        return "is not a sentence"
    return "is not in English" if english_only and not _is_english(readings[0], index) else None


def prepare(catalog: Catalog) -> None:
    """Index a catalogue for later checks, from any thread; a second call does nothing."""
    index_of(catalog)


def _leak(
    readings: Sequence[str], session: Session, catalog: Catalog, index: CatalogIndex
) -> HintRejectionReason | None:
    if _HANDLE.search(readings[0]):
        return "names a handle"
    if session.target is not None:
        for reading in readings_of_title(readings):
            if names_target(reading, session.target, catalog, index):
                return "names the target"
    return "names an id" if names_id(readings[0], index) else None


def _is_english(reading: str, index: CatalogIndex) -> bool:
    """Whether enough words are English, or words of the catalogue, which hints are about."""
    tokens = [token for token in tokens_of(reading) if not token.word.isdigit()]
    known = sum(
        (is_english(token.word) and reading[token.start : token.end].isascii())
        or token.word in index.categories
        or index.counts[token.word] >= index.often
        for token in tokens
    )
    return known >= _SMALLEST_ENGLISH_SHARE * len(tokens)


def _is_pictograph(char: str) -> bool:
    return ord(char) > 0x2BFF and not char.isspace()
