"""What a model did not name is filled up by a base ranker, where there is one."""

from __future__ import annotations

import threading

import pytest
from testing.answering import make_components, make_session

from agentrec.evaluation.baselines import PopularityRanker
from agentrec.graphs.recommendation.ranking import rank
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSION = make_session(0)
BY_MERIT = tuple(sorted(SESSION.candidates, reverse=True))


class Merit:
    """Ranks by the ids turned round; remembers where it was asked."""

    def __init__(self, *ranked: str) -> None:
        self._ranked = ranked or BY_MERIT
        self.threads: list[threading.Thread] = []

    def rank(self, session: Session) -> tuple[str, ...]:
        self.threads.append(threading.current_thread())
        return self._ranked


async def test_it_orders_what_was_not_named_and_nothing_else() -> None:
    ranker, answer = Merit(), "1. C03\n2. C01"
    plain = await rank(SESSION, None, make_components(ScriptedChatModel([answer] * 2)))
    filled = await rank(
        SESSION, None, make_components(ScriptedChatModel([answer] * 2), base_ranker=ranker)
    )
    named = plain.item_ids[:2]
    assert filled.item_ids == (*named, *(one for one in BY_MERIT if one not in named))[:10]
    assert filled.item_ids != plain.item_ids
    assert (filled.backfilled, filled.illegal) == (plain.backfilled, plain.illegal) == (8, 0)
    assert ranker.threads != [threading.main_thread()]


async def test_a_whole_answer_needs_none() -> None:
    answer = "\n".join(f"{n}. C{n:02d}" for n in range(1, 11))
    ranker = Merit()
    components = make_components(ScriptedChatModel([answer]), base_ranker=ranker)
    assert (await rank(SESSION, None, components)).backfilled == 0
    assert ranker.threads == []


async def test_what_was_not_shown_fills_up_by_merit_too() -> None:
    model = ScriptedChatModel(["1. C01\n2. C02\n3. C03\n4. C04"])
    components = make_components(model, max_candidates=4, base_ranker=Merit())
    found = await rank(SESSION, None, components)
    assert found.item_ids[4:] == tuple(i for i in BY_MERIT if i not in found.item_ids[:4])[:6]


async def test_candidates_that_come_ordered_fill_up_by_merit_all_the_same() -> None:
    model = ScriptedChatModel(["1. C01", "1. C01"])
    components = make_components(model, candidates_ordered=True, base_ranker=Merit())
    found = await rank(SESSION, None, components)
    assert found.item_ids[1:] == tuple(i for i in BY_MERIT if i != found.item_ids[0])[:9]


async def test_fused_shuffles_fill_up_by_merit() -> None:
    model = ScriptedChatModel(["1. C01"] * 4)
    components = make_components(model, shuffles=2, base_ranker=Merit())
    found = await rank(SESSION, None, components)
    named = found.item_ids[: 10 - found.backfilled]
    assert len(named) == 2
    assert found.item_ids[2:] == tuple(i for i in BY_MERIT if i not in named)[:8]


@pytest.mark.parametrize("ranked", [("i9", "i9", "nothing", "i4"), ("nothing",)])
async def test_a_careless_ranker_spoils_no_ranking(ranked: tuple[str, ...]) -> None:
    components = make_components(ScriptedChatModel(["no"] * 2), base_ranker=Merit(*ranked))
    found = await rank(SESSION, None, components)
    assert len(set(found.item_ids)) == 10
    assert set(found.item_ids) <= set(SESSION.candidates)
    assert set(found.item_ids[:2]) == {"i9", "i4"} or "i9" not in ranked


async def test_any_baseline_does() -> None:
    counts = {item_id: position for position, item_id in enumerate(SESSION.candidates)}
    components = make_components(
        ScriptedChatModel(["no"] * 2), base_ranker=PopularityRanker(counts)
    )
    found = await rank(SESSION, None, components)
    assert found.item_ids == SESSION.candidates[::-1][:10]
