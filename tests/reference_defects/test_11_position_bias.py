"""11: targets at the first positions are found more often; nothing controls for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from testing.answering import candidates_of, make_components, make_session

from agentrec.evaluation.answer_quality import position_bias_of, shown_order
from agentrec.graphs.recommendation.ranking import rank
from agentrec.llm.prompts.session_view import SessionView
from agentrec.rankings import Ranking
from agentrec.testing.scripted_chat_model import ScriptedChatModel

# In all of them the target is the first of the candidates, as in a data set that was not mixed.
SESSIONS = [make_session(0, session_id=f"s{number}") for number in range(100)]
CANDIDATES = len(SESSIONS[0].candidates)


def first_ten(messages: Sequence[BaseMessage]) -> str:
    """The answer of a model that looks at nothing but positions."""
    shown = candidates_of(messages)[:10]
    return "\n".join(f"{n}. {handle} | {label}" for n, (handle, label) in enumerate(shown, start=1))


async def ranked(**changes: object) -> list[Ranking]:
    model = ScriptedChatModel([first_ten] * 3 * len(SESSIONS))
    components = make_components(model, **changes)
    return list(await asyncio.gather(*(rank(each, None, components) for each in SESSIONS)))


def hit_rate(rankings: Sequence[Ranking]) -> float:
    pairs = zip(SESSIONS, rankings, strict=True)
    return sum(session.target in ranking.item_ids for session, ranking in pairs) / len(SESSIONS)


async def test_11_where_the_data_lists_a_target_gives_it_no_advantage() -> None:
    assert all(session.candidates[0] == session.target for session in SESSIONS)
    # By chance 10 of 24; a position in the data that counted would give all.
    assert abs(hit_rate(await ranked()) - 10 / CANDIDATES) < 0.15


def test_11_every_place_is_shown_the_target_about_as_often() -> None:
    catalog = make_components(ScriptedChatModel()).catalog
    positions = Counter(
        SessionView.of(session, catalog).candidate_ids.index(session.target or "")
        for session in SESSIONS
    )
    assert len(positions) >= CANDIDATES - 3
    assert max(positions.values()) < 4 * len(SESSIONS) / CANDIDATES


async def test_11_a_model_that_prefers_places_is_found_out() -> None:
    catalog = make_components(ScriptedChatModel()).catalog
    bias = position_bias_of(SESSIONS, await ranked(), shown_order(catalog))
    first, _, last = bias.bins
    assert (first.hit_rate, last.hit_rate) == (1, 0)
    assert bias.z is not None
    assert bias.z > 6
    # By positions in the data there is nothing to compare: they are all the same.
    assert position_bias_of(SESSIONS, await ranked(), lambda session: session.candidates).z is None


async def test_11_asking_in_several_orders_takes_from_the_bias() -> None:
    catalog = make_components(ScriptedChatModel()).catalog
    once = position_bias_of(SESSIONS, await ranked(), shown_order(catalog))
    fused = position_bias_of(SESSIONS, await ranked(shuffles=3), shown_order(catalog))
    assert once.z is not None
    assert fused.z is not None
    assert fused.z < 0.75 * once.z
