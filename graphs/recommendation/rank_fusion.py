"""One ranking from several that were made with the candidates in different orders.

What a model ranks high wherever it stands is meant; what it ranks high because of where it stands
is not, and comes from somewhere else each time.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from agentrec.errors import ModelCallError
from agentrec.rankings import Ranking

FUSION_CONSTANT = 60

Made = TypeVar("Made")


def reciprocal_rank_fusion(
    lists: Sequence[Sequence[str]], constant: int = FUSION_CONSTANT
) -> list[str]:
    """Fuse ranked lists: ``score(item) = sum over lists of 1 / (constant + place)``.

    An item that a list lacks gets nothing from it. Of items with equal scores the one with the
    better best place comes first, and of those the one that an earlier list names earlier, so
    the result is the same every time.

    Args:
        lists: Ranked items, best first, each at most once a list.
        constant: How little the first places stand out, at least 0; 60 in the source, where it
            was found not to matter much.

    Returns:
        All items, best first.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet and
        Individual Rank Learning Methods (SIGIR 2009).

    >>> reciprocal_rank_fusion([["a", "b", "c"], ["b", "a"], ["b", "d"]])
    ['b', 'a', 'd', 'c']
    """
    places: dict[str, list[int]] = {}
    for ranked in lists:
        for place, item_id in enumerate(ranked, start=1):
            places.setdefault(item_id, []).append(place)
    # Exact sums: rounding must not depend on the order of the lists and so break a tie.
    scores = {
        item_id: math.fsum(1.0 / (constant + place) for place in at)
        for item_id, at in places.items()
    }
    # Sorting is stable, and items are in the order in which the lists name them.
    return sorted(places, key=lambda item_id: (-scores[item_id], min(places[item_id])))


def fuse(rankings: Sequence[Ranking], notes: Iterable[str] = ()) -> Ranking:
    """Fuse rankings of one session, all of one length.

    Only what the model named counts: what was filled up stands in an order that means nothing.
    It fills up the fused ranking where too few were named in all.

    Args:
        rankings: At least one, in the order of the attempts; a single one stays as it is.
        notes: Notes to add to those of the rankings.
    """
    first = rankings[0]
    told = (*(note for ranking in rankings for note in ranking.notes), *notes)
    if len(rankings) == 1:
        once = tuple(dict.fromkeys(told))
        return first if once == first.notes else first.model_copy(update={"notes": once})
    count = len(first.item_ids)
    named = reciprocal_rank_fusion(
        [ranking.item_ids[: count - ranking.backfilled] for ranking in rankings]
    )[:count]
    missing = [item_id for item_id in first.item_ids if item_id not in named]
    return Ranking(
        session_id=first.session_id,
        item_ids=(*named, *missing[: count - len(named)]),
        hint_id=first.hint_id,
        backfilled=count - len(named),
        illegal=sum(ranking.illegal for ranking in rankings),
        repaired=any(ranking.repaired for ranking in rankings),
        structured=all(ranking.structured for ranking in rankings),
        notes=tuple(dict.fromkeys(told)),
    )


async def settled(
    calls: Iterable[Awaitable[Made]], failing: str = "requests failed"
) -> tuple[list[Made], tuple[str, ...]]:
    """Await all calls at once; one that fails costs the others nothing.

    Args:
        calls: The calls.
        failing: What the note says became of those that failed.

    Returns:
        What was made, in order, and a note where a call failed.

    Raises:
        ModelCallError: The first failure, if every call failed; and want of money at once, or
            who pays later would be left with the lesser result.
        Exception: The first failure of any other kind.
    """
    awaited = list(calls)
    if len(awaited) == 1:
        # Without a task of its own: what it raises is what would be raised below.
        return [await awaited[0]], ()
    ended = await asyncio.gather(*awaited, return_exceptions=True)
    failures = [each for each in ended if isinstance(each, ModelCallError)]
    for each in ended:
        if isinstance(each, ModelCallError) and each.kind != "budget_spent":
            continue
        if isinstance(each, BaseException):
            raise each
    if failures and len(failures) == len(ended):
        raise failures[0]
    kinds = Counter(failure.kind for failure in failures)
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    notes = (f"{len(failures)} of {len(ended)} {failing}: {said}",) if failures else ()
    return [each for each in ended if not isinstance(each, BaseException)], notes
