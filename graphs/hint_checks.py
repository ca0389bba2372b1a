"""What a hint must not be, whoever wrote it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
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

_HANDLE = re.compile(r"\bC\d{2,4}\b", re.IGNORECASE)
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE_BEHIND = re.compile(r"(?P<name>.+), *(?P<article>the|an?)", re.IGNORECASE)


def refusal_of(text: str, session: Session, catalog: Catalog) -> RefusalReason | None:
    """Say why a proposed hint may not be tried, or ``None`` if it may.

    Letter case, accents, punctuation, spacing, a year left out and an article in its other place
    do not hide a title.

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
        for form in (catalog.labels[session.target], *_forms(title)):
            if _holds(words, _plain(form)):
                return "names the target"
    return None


def _forms(title: str) -> Iterator[str]:
    """A title as it is, without its year, and as "The Postman" where it is "Postman, The"."""
    yield title
    name = _YEAR.sub("", title)
    yield name
    moved = _ARTICLE_BEHIND.fullmatch(name)
    if moved is not None:
        yield f"{moved['article']} {moved['name']}"
        # One word alone may be any word: "Game, The" must not bar the word "game".
        if len(_plain(moved["name"])) > 1:
            yield moved["name"]


def _plain(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return re.findall(r"[^\W_]+", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _holds(words: list[str], title: list[str]) -> bool:
    if not title:
        return False
    joined = "".join(title)
    # A title of several words is also found with its spaces taken out or moved.
    if len(title) > 1 and joined in "".join(words):
        return True
    # One of a single word may be part of another ("Heat", "theatre"): whole words must make it up.
    return any(
        "".join(words[start:end]) == joined
        for start in range(len(words))
        for end in range(start + 1, min(len(words), start + len(joined)) + 1)
    )
