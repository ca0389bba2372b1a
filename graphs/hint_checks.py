"""What a hint must not be, whoever wrote it."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from agentrec.catalog import Catalog
from agentrec.hints import MAX_HINT_LENGTH
from agentrec.sessions import Session

RefusalReason = Literal[
    "empty",
    "too long",
    "names the target",
    "names a handle",
    "does not repair the error",
    "does not help on other sessions",
    "says what a stored hint says",
    "knowledge base is full",
]

_HANDLE = re.compile(r"\bC\d{2,4}\b")
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")


def refusal_of(text: str, session: Session, catalog: Catalog) -> RefusalReason | None:
    """Say why a proposed hint may not be tried, or ``None`` if it may.

    Letter case, accents, punctuation and spacing do not hide a title.

    Args:
        text: The proposal.
        session: The session whose error it comes from, with its target.
        catalog: The items.
    """
    words = _plain(text)
    if not words:
        return "empty"
    if len(text) > MAX_HINT_LENGTH:
        return "too long"
    if _HANDLE.search(text):
        return "names a handle"
    if session.target is not None:
        title = catalog[session.target].title
        for form in (title, catalog.labels[session.target], _YEAR.sub("", title)):
            if _holds(words, _plain(form)):
                return "names the target"
    return None


def _plain(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return re.findall(r"\w+", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _holds(words: list[str], title: list[str]) -> bool:
    if not title:
        return False
    spread = f" {' '.join(words)} "
    # A title of several words is also found with its spaces taken out or moved.
    return f" {' '.join(title)} " in spread or (len(title) > 1 and "".join(title) in "".join(words))
