"""Whether a preference text gives its session's target away.

The target is what the reward is computed from: a text that names it is worth much and teaches
nothing. Texts cite the history as their evidence, though, and a title that a model was shown
there is no leak, not even where the target's title is much like it ("Toy Story", "Toy Story 2").
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from agentrec.catalog import Catalog
from agentrec.graphs.hint_disguises import names_target
from agentrec.graphs.hint_titles import index_of, title_forms
from agentrec.graphs.hint_words import Token, digits_as_letters, readings_of, tokens_of, words_of
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session


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
