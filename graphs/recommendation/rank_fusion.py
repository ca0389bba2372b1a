"""Fuse rankings that were made with the candidates in different orders.

An item that a model ranks high in every order is meant; one that it ranks high because of its
position changes with the order.
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
    """Fuse ranked lists: ``score(item) = sum over lists of 1 / (constant + rank)``.

    A list adds nothing to items that it lacks. Equal scores are ordered by the best rank, then by
    the first list that names the item, so the result is deterministic.

    Args:
        lists: Ranked items, best first, each at most once a list.
        constant: At least 0; larger values give the first ranks less weight. The source uses 60
            and finds that it matters little.

    Returns:
        All items, best first.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet and
        Individual Rank Learning Methods (SIGIR 2009).

    >>> reciprocal_rank_fusion([["a", "b", "c"], ["b", "a"], ["b", "d"]])
    ['b', 'a', 'd', 'c']
    """
    ranks: dict[str, list[int]] = {}
    for ranked in lists:
        for rank, item_id in enumerate(ranked, start=1):
            ranks.setdefault(item_id, []).append(rank)
    # Exact sums: rounding must not depend on the order of the lists and so break a tie.
    scores = {
        item_id: math.fsum(1.0 / (constant + rank) for rank in own)
        for item_id, own in ranks.items()
    }
    # Sorting is stable, and items are in the order in which the lists name them.
    return sorted(ranks, key=lambda item_id: (-scores[item_id], min(ranks[item_id])))


def fuse_rankings(rankings: Sequence[Ranking], notes: Iterable[str] = ()) -> Ranking:
    """Fuse rankings of one session, all of one length.

    Only items that the model named count. Backfilled items fill up the fused ranking if too few
    were named.

    Args:
        rankings: At least one, in the order of the attempts; a single one is returned as it is.
        notes: Notes to add to those of the rankings.
    """
    first = rankings[0]
    all_notes = (*(note for ranking in rankings for note in ranking.notes), *notes)
    if len(rankings) == 1:
        once = tuple(dict.fromkeys(all_notes))
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
        notes=tuple(dict.fromkeys(all_notes)),
    )


async def gather_successes(
    calls: Iterable[Awaitable[Made]], failing: str = "requests failed"
) -> tuple[list[Made], tuple[str, ...]]:
    """Await all calls at once and return the results of those that succeed.

    Args:
        calls: The calls.
        failing: How the note describes the calls that failed.

    Returns:
        The results, in order, and a note if a call failed.

    Raises:
        ModelCallError: The first failure, if every call failed. A spent budget is raised at once:
            the session must not keep a lesser result when it is resumed with more money.
        Exception: The first failure of any other kind.
    """
    awaited = list(calls)
    if len(awaited) == 1:
        # No task is needed: it raises what would be raised below.
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
    described = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    notes = (f"{len(failures)} of {len(ended)} {failing}: {described}",) if failures else ()
    return [each for each in ended if not isinstance(each, BaseException)], notes
