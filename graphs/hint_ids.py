"""Whether a hint names an item of the catalogue by its id."""

from __future__ import annotations

import re

from agentrec.graphs.hint_titles import CatalogIndex
from agentrec.graphs.hint_words import COUNTED, tokens_of

_CALLED_ID = re.compile(
    r"(?:\b(?:item|items|id|ids|product|sku|asin|isbn|key)\b[\s:=#.\"'(no]{0,6}|#)(\w+)"
)
_LEAST_NUMBER = 7


def names_id(reading: str, index: CatalogIndex) -> bool:
    """Whether a text holds the id of an item.

    An id that mixes letters and digits, or a long number, cannot be anything else. A short
    number may be a year and a word may be a word: they count where they are called an id.
    """
    tokens = tokens_of(reading)
    words = [token.word for token in tokens]
    for start in range(len(words)):
        key = ""
        for end in range(start, min(start + 5, len(words))):
            key += words[end]
            if key not in index.ids or COUNTED.fullmatch(key) or key in index.values:
                continue
            # Of several words, a short one may come about by chance, as in "kind 7".
            if end == start or len(key) > 4 or reading[tokens[end].start - 1] in "-_":
                return True
    if any(w.isdigit() and len(w) >= _LEAST_NUMBER and w in index.plain_ids for w in words):
        return True
    return any(
        called != "1" and called in index.plain_ids
        for called in _CALLED_ID.findall(reading.lower())
    )
