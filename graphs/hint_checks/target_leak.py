"""Whether a hint or a preference text names its session's target, however the title is disguised.

The title is known here, so a text that comes close to it in letters is enough. A text that names
the target is worth much in a reward and teaches nothing.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rapidfuzz.distance import OSA

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.catalog_index import CatalogIndex, index_of, title_forms
from agentrec.graphs.hint_checks.normalization import (
    Token,
    readings_of,
    readings_of_title,
    tokens_of,
    words_of,
)
from agentrec.graphs.hint_checks.title_mention import TextSpan
from agentrec.graphs.hint_checks.vocabulary import ARTICLES, FUNCTION_WORDS, is_english
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session

_PARTS = re.compile(r":\s+|\s+[-\u2013\u2014]\s+|\s*[()]\s*")

_LONG_TITLE = 8
"""A title of several words with this many letters is also found across the spaces of a text."""
# A slip is a letter too many, too few, or wrong, or two that changed places.
_LETTERS_PER_SLIP = 6
_NAMED_LETTERS_PER_SLIP = 4
_MOST_SLIPS = 4
_FEWEST_MISSPELT = 5
_FEWEST_BACKWARDS = 5


def names_target(reading: str, target: str, catalog: Catalog, index: CatalogIndex) -> bool:
    """Return whether a reading of a hint names an item.

    Args:
        reading: A reading of the hint, see ``readings_of``.
        target: Id of the item.
        catalog: The items.
        index: The index of the catalogue.
    """
    tokens = tokens_of(reading)
    item = catalog[target]
    label = catalog.labels[target]
    whole = [words_of(form) for form in dict.fromkeys((label, *title_forms(item.title)))]
    return any(
        _names(words, tokens, reading, index)
        for words in (*whole, *_short_forms(whole, item.title))
    )


def leaks_target(
    text: str, session: Session, catalog: Catalog, shown: Sequence[str] | None = None
) -> bool:
    """Return whether a text about a user names the session's target, however it is written.

    Such texts cite the history as evidence. A title that the prompt showed is no leak, not even
    where the target's title resembles it ("Toy Story", "Toy Story 2").

    It takes about a millisecond a line: run it in a thread. The first check against a catalogue
    reads all of it, see ``prepare``.

    Args:
        text: The text, line by line.
        session: The session; without a target nothing can leak.
        catalog: The items, the target among them.
        shown: Ids of the items whose titles the prompt showed; by default the last 10 of the
            history.
    """
    target = session.target
    known = session.items[-HISTORY_LENGTH:] if shown is None else shown
    if target is None or target in known:
        return False
    index = index_of(catalog)
    own = _keys([target], catalog)
    cited = _keys((item_id for item_id in known if item_id in catalog), catalog)
    for line in dict.fromkeys(filter(str.strip, text.splitlines())):
        readings = readings_of_title(readings_of(html.unescape(line)))
        pieces = dict.fromkeys(
            piece
            for reading in readings
            for piece in _between_citations(reading, cited, own)
            if any(map(str.isalnum, piece))
        )
        if any(names_target(piece, target, catalog, index) for piece in pieces):
            return True
    return False


def _short_forms(whole: Sequence[list[str]], title: str) -> Iterator[list[str]]:
    """Yield what a title is called for short: without its article, or by what its colon parts."""
    for words in whole:
        if len(words) > 2 and words[0] in ARTICLES:
            yield words[1:]
    for part in _PARTS.split(title):
        words = words_of(part)
        if sum(word not in FUNCTION_WORDS for word in words) > 1 and words not in whole:
            yield words


def _names(words: list[str], tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether a text names a title of these words."""
    if not words:
        return False
    if len(words) == 1:
        return _names_word(words[0], tokens, reading, index)
    said = [token.word for token in tokens]
    joined = "".join(words)
    if _made_up_of(said, joined) or _shuffled(said, words, index):
        return True
    if len(words) == 2 and words[0] in ARTICLES:
        return _names_bare(words[1], tokens, reading, index) or _nearly(
            words, tokens, reading, index
        )
    if len(joined) < _LONG_TITLE:
        return _nearly(words, tokens, reading, index)
    text = "".join(said)
    return (
        joined in text
        or joined[::-1] in text
        or "".join(word[::-1] for word in words) in text
        or _nearly(words, tokens, reading, index)
        or _misspelt_in(joined, said, min(_MOST_SLIPS, len(joined) // _LETTERS_PER_SLIP))
    )


def _names_word(word: str, tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether a text names a title of one word."""
    for at, token in enumerate(tokens):
        span = TextSpan(tokens, at, at, reading)
        if token.word == word:
            # "Prefer genres war" means the attribute, "prefer it" no item at all.
            if word in FUNCTION_WORDS:
                named = span.named
            else:
                named = token.capital or word not in index.categories
            if named:
                return True
        elif _resembles(word, token.word, span, index):
            return True
    said = [token.word for token in tokens]
    return word not in said and _made_up_of(said, word)


def _names_bare(word: str, tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether "The Postman" is called "Postman": any postman is another matter."""
    for at, token in enumerate(tokens):
        span = TextSpan(tokens, at, at, reading)
        if token.word == word:
            behind_article = at > 0 and tokens[at - 1].word in {"a", "an"}
            rare = not index.ordinary(word) and index.counts[word] <= 3 and len(word) > 5
            if span.named or (rare and not behind_article):
                return True
        elif _resembles(word, token.word, span, index):
            return True
    return False


def _resembles(word: str, said: str, span: TextSpan, index: CatalogIndex) -> bool:
    """Whether a word is another one misspelt, or spelled backwards."""
    if said in FUNCTION_WORDS or is_english(said) or said in index.categories:
        return False
    named = span.named
    if index.known(said) and not named:
        return False
    if len(word) >= _FEWEST_BACKWARDS and said == word[::-1]:
        return True
    if not named and said in {f"{word}s", f"{word}es", f"{word}d"}:
        # Of the same theme, but no misspelling.
        return False
    if len(word) < (4 if named else _FEWEST_MISSPELT):
        return False
    return _is_within(word, said, 2 if len(word) >= _LONG_TITLE else 1)


def _nearly(words: list[str], tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether as many words come near to a title and look like a name.

    With capitals or in quotes every fourth letter may be wrong; without, one in all, and one word
    must be unknown to the catalogue.
    """
    joined = "".join(words)
    if len(joined) < _FEWEST_MISSPELT:
        return False
    most = max(1, len(joined) // _NAMED_LETTERS_PER_SLIP)
    for start in range(len(tokens) - len(words) + 1):
        part = tokens[start : start + len(words)]
        said = "".join(token.word for token in part)
        # The value of an attribute is no title: "Hong Kong" is not "King Kong".
        if not _is_within(joined, said, most) or said in index.values:
            continue
        span = TextSpan(tokens, start, start + len(words) - 1, reading)
        paired = zip(part, words, strict=True)
        capital = all(token.capital or word in FUNCTION_WORDS for token, word in paired) and any(
            token.capital and token.word not in FUNCTION_WORDS for token in part
        )
        if (capital and span.capitals and not span.opens_sentence) or span.quoted:
            return True
        if _is_within(joined, said, 1) and not all(index.known(token.word) for token in part):
            return True
    return False


def _made_up_of(said: Sequence[str], joined: str) -> bool:
    """Whether whole words, however they are parted, make up a title."""
    for start in range(len(said)):
        made = ""
        for word in said[start:]:
            made += word
            if made == joined:
                return True
            if not joined.startswith(made):
                break
    return False


def _shuffled(said: Sequence[str], words: Sequence[str], index: CatalogIndex) -> bool:
    """Whether a title's words stand together in another order."""
    content = [word for word in words if word not in FUNCTION_WORDS]
    for wanted in (Counter(words), Counter(content)):
        size = wanted.total()
        if size < 2 or (size == 2 and len(content) < 2):
            continue
        if size < len(words) and size < 3 and all(map(index.ordinary, wanted)):
            # "World at War" is not what "World War" says.
            continue
        if any(
            said[start] in wanted and Counter(said[start : start + size]) == wanted
            for start in range(len(said) - size + 1)
        ):
            return True
    return False


def _misspelt_in(joined: str, said: Sequence[str], slips: int) -> bool:
    """Whether whole words, however they are parted, make up a title with a few slips."""
    for start in range(len(said)):
        made = ""
        for word in said[start:]:
            made += word
            if len(made) > len(joined) + slips:
                break
            if _is_within(joined, made, slips):
                return True
    return False


def _is_within(title: str, text: str, slips: int) -> bool:
    """Whether a whole text is a title with at most so many slips."""
    if abs(len(title) - len(text)) > slips:
        return False
    return int(OSA.distance(title, text, score_cutoff=slips)) <= slips


def _keys(item_ids: Iterable[str], catalog: Catalog) -> frozenset[str]:
    """Return the titles of items in all their forms, as letters without spaces."""
    return frozenset(
        key
        for item_id in item_ids
        for form in (catalog.labels[item_id], *title_forms(catalog[item_id].title))
        if (key := "".join(words_of(form)))
    )


def _between_citations(reading: str, cited: frozenset[str], own: frozenset[str]) -> Iterator[str]:
    """Yield what stands between the cited titles.

    The longer title wins: "Toy Story 2" is not "Toy Story" and a number.
    """
    tokens = tokens_of(reading)
    spans = _spans(tokens, cited)
    targets = [
        (start, end)
        for start, end in _spans(tokens, own)
        if not any(low <= start and end <= high for low, high in spans)
    ]
    at = 0
    for start, end in spans:
        if any(start <= high and low <= end for low, high in targets):
            continue
        begin = tokens[start].start
        if begin >= at:
            yield reading[at:begin]
        at = max(at, tokens[end].end)
    yield reading[at:]


def _spans(tokens: Sequence[Token], keys: frozenset[str]) -> list[tuple[int, int]]:
    """Return the first and last index of the words of each title in a text, in order."""
    longest = max(map(len, keys), default=0)
    found = []
    for start in range(len(tokens)):
        key = ""
        for end in range(start, len(tokens)):
            key += tokens[end].word
            if len(key) > longest:
                break
            if key in keys:
                found.append((start, end))
    return found
