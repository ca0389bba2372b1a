"""Whether a hint names its session's target, however the title is disguised.

Here the title is known, so far less is needed than to find any title of the catalogue: a text
that comes close to it in letters is enough.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.catalog_index import ARTICLES, FUNCTION_WORDS, ORDINARY_WORDS
from agentrec.graphs.hint_checks.normalization import (
    Token,
    digits_as_letters,
    readings_of,
    tokens_of,
    words_of,
)
from agentrec.graphs.hint_checks.title_mention import CatalogIndex, Place, index_of, title_forms
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session

_PARTS = re.compile(r":\s+|\s+[-\u2013\u2014]\s+|\s*[()]\s*")

_WHOLE = 8
"""From how many letters on a title of several words is looked for without regard to spaces."""
_SLIP_EVERY = 6
"""In how many letters one may be wrong."""
_NAMED_SLIP_EVERY = 4
_MOST_SLIPS = 4
_LEAST_MISSPELT = 5
_LEAST_BACKWARDS = 5


def names_target(reading: str, target: str, catalog: Catalog, index: CatalogIndex) -> bool:
    """Whether a reading of a hint names an item.

    Args:
        reading: What the hint says to an eye.
        target: Id of the item.
        catalog: The items.
        index: Of the same catalogue.
    """
    tokens = tokens_of(reading)
    item = catalog[target]
    label = catalog.labels[target]
    whole = [words_of(form) for form in dict.fromkeys((label, *title_forms(item.title)))]
    return any(
        _names(words, tokens, reading, index) for words in (*whole, *_pieces(whole, item.title))
    )


def _pieces(whole: Sequence[list[str]], title: str) -> Iterator[list[str]]:
    """What a title is called for short: without its article, or by what its colon parts."""
    for words in whole:
        if len(words) > 2 and words[0] in ARTICLES:
            yield words[1:]
    for part in _PARTS.split(title):
        words = words_of(part)
        if sum(word not in FUNCTION_WORDS for word in words) > 1 and words not in whole:
            yield words


def _names(words: list[str], tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
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
    text = "".join(said)
    if len(joined) < _WHOLE:
        return _nearly(words, tokens, reading, index)
    return (
        joined in text
        or joined[::-1] in text
        or "".join(word[::-1] for word in words) in text
        or _nearly(words, tokens, reading, index)
        or _misspelt_in(joined, said, min(_MOST_SLIPS, len(joined) // _SLIP_EVERY))
    )


def _names_word(word: str, tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    said = [token.word for token in tokens]
    for place, token in enumerate(tokens):
        where = Place(tokens, place, place, reading)
        if token.word == word:
            # "Prefer genres war" says what the attribute says, "prefer it" nothing at all.
            if word in FUNCTION_WORDS:
                told = where.named
            else:
                told = token.capital or word not in index.categories
            if told:
                return True
        elif _like(word, token.word, where, index):
            return True
    return word not in said and _made_up_of(said, word)


def _names_bare(word: str, tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether "The Postman" is called "Postman": any postman is another matter."""
    for place, token in enumerate(tokens):
        where = Place(tokens, place, place, reading)
        if token.word == word:
            behind_article = place > 0 and tokens[place - 1].word in {"a", "an"}
            rare = not index.ordinary(word) and index.counts[word] <= 3 and len(word) > 5
            if where.named or (rare and not behind_article):
                return True
        elif _like(word, token.word, where, index):
            return True
    return False


def _like(word: str, said: str, place: Place, index: CatalogIndex) -> bool:
    """Whether a word is another one misspelt, or spelled backwards."""
    if said in ORDINARY_WORDS or said in index.categories:
        return False
    named = place.named
    if index.known(said) and not named:
        return False
    if len(word) >= _LEAST_BACKWARDS and said == word[::-1]:
        return True
    if not named and said in {f"{word}s", f"{word}es", f"{word}d"}:
        # Of the same theme, but no misspelling.
        return False
    if len(word) < (4 if named else _LEAST_MISSPELT) or abs(len(word) - len(said)) > 2:
        return False
    slips = 2 if len(word) >= _WHOLE else 1
    return is_within(word, said, slips)


def _nearly(words: list[str], tokens: list[Token], reading: str, index: CatalogIndex) -> bool:
    """Whether as many words come near to a title and look like a name.

    With capitals or in quotes every fourth letter may be wrong; without, one in all, and one word
    must be none that the catalogue knows.
    """
    joined = "".join(words)
    if len(joined) < _LEAST_MISSPELT:
        return False
    most = max(1, len(joined) // _NAMED_SLIP_EVERY)
    for start in range(len(tokens) - len(words) + 1):
        span = tokens[start : start + len(words)]
        said = "".join(token.word for token in span)
        if abs(len(said) - len(joined)) > most or not is_within(joined, said, most):
            continue
        if said in index.values:
            # "Hong Kong" is not "King Kong".
            continue
        place = Place(tokens, start, start + len(words) - 1, reading)
        paired = zip(span, words, strict=True)
        capital = all(token.capital or word in FUNCTION_WORDS for token, word in paired) and any(
            token.capital and token.word not in FUNCTION_WORDS for token in span
        )
        if (capital and place.capitals and not place.opens_sentence) or place.quoted:
            return True
        if is_within(joined, said, 1) and not all(index.known(token.word) for token in span):
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
    """Whether a title stands in a text with a few slips, from one word's start to one's end."""
    # Nearly, as the slip may be at an end: "mainstream American" is no "Team America".
    ends = {at + near for at in accumulate(map(len, said)) for near in (-1, 0, 1)}
    if ends.isdisjoint(ends_within(joined, "".join(said), slips)):
        return False
    starts = {at + near for at in accumulate(map(len, reversed(said))) for near in (-1, 0, 1)}
    backwards = ends_within(joined[::-1], "".join(said)[::-1], slips)
    return not starts.isdisjoint(backwards)


def is_within(pattern: str, text: str, slips: int) -> bool:
    """Whether a whole text is a pattern with at most so many slips, see ``ends_within``."""
    distances = _distances(pattern, text, throughout=True)
    return bool(distances) and distances[-1] <= slips


def ends_within(pattern: str, text: str, slips: int) -> list[int]:
    """Where in a text a pattern ends that stands there with at most so many slips.

    A slip is a letter too many, one too few, another one, or two that changed places.

    Args:
        pattern: What to look for, at least one letter.
        text: Where.
        slips: How many slips are allowed, at least 0.

    Returns:
        Numbers of letters of the text up to the end of the pattern.
    """
    distances = _distances(pattern, text, throughout=False)
    return [end for end, distance in enumerate(distances, start=1) if distance <= slips]


def _distances(pattern: str, text: str, *, throughout: bool) -> list[int]:
    """The distance of a pattern from what ends at each letter of a text, or from all up to there.

    Source: Hyyro, A bit-vector algorithm for computing Levenshtein and Damerau edit distances
    (2003): one step a letter of the text, however long the pattern.
    """
    places: dict[str, int] = {}
    for place, letter in enumerate(pattern):
        places[letter] = places.get(letter, 0) | 1 << place
    mask, last = (1 << len(pattern)) - 1, 1 << (len(pattern) - 1)
    more, fewer, diagonal, before, distance = mask, 0, mask, 0, len(pattern)
    distances = []
    for letter in text:
        here = places.get(letter, 0)
        swapped = ((~diagonal & here) << 1) & before
        diagonal = ((((here & more) + more) ^ more) | here | fewer | swapped) & mask
        right, left = (fewer | ~(diagonal | more)) & mask, diagonal & more
        distance += bool(right & last) - bool(left & last)
        right, left = right << 1 | throughout, left << 1
        more, fewer = (left | ~(diagonal | right)) & mask, right & diagonal & mask
        before = here
        distances.append(distance)
    return distances


def leaks_target(
    text: str, session: Session, catalog: Catalog, shown: Sequence[str] | None = None
) -> bool:
    """Whether a text names its session's target, however the title is written.

    It takes about a millisecond a line: in an event loop, call it in a thread. The first check
    against a catalogue reads all of it, see ``hint_checks.prepare``.

    Args:
        text: The text, line by line.
        session: The session; without a target nothing can leak.
        catalog: The items, the target among them.
        shown: Ids of the items whose titles the model was shown; by default the last 10 of the
            history, which is what prompts show.
    """
    target = session.target
    known = session.items[-HISTORY_LENGTH:] if shown is None else shown
    if target is None or target in known:
        return False
    index = index_of(catalog)
    own = _keys([target], catalog)
    cited = _keys((item_id for item_id in known if item_id in catalog), catalog)
    for line in dict.fromkeys(filter(str.strip, text.splitlines())):
        readings = readings_of(html.unescape(line))
        pieces = dict.fromkeys(
            piece
            for reading in (*readings, *digits_as_letters(readings[-1]))
            for piece in _apart(reading, cited, own)
            if any(map(str.isalnum, piece))
        )
        if any(names_target(piece, target, catalog, index) for piece in pieces):
            return True
    return False


def _keys(item_ids: Iterable[str], catalog: Catalog) -> frozenset[str]:
    """The titles of items in all their forms, their letters run together."""
    return frozenset(
        key
        for item_id in item_ids
        for form in (catalog.labels[item_id], *title_forms(catalog[item_id].title))
        if (key := "".join(words_of(form)))
    )


def _apart(reading: str, cited: frozenset[str], own: frozenset[str]) -> Iterator[str]:
    """What stands between the cited titles.

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
    """First and last place of the words of each title that stands in a text, in order."""
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
