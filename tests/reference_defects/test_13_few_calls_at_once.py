"""13: calls are made one after the other, without a rate limit, and many times over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from langchain_core.messages import HumanMessage
from testing.answering import (
    WRONG,
    make_catalog,
    make_components,
    make_session,
    targets_of,
    world,
)

from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.graphs.recommendation.build_offer import offer_hints
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(20)]
HINTS = [Hint(text="Prefer old films."), Hint(text="Avoid sequels.")]
DISTINCT = len(SESSIONS) * (1 + len(HINTS))


def scripted(latency: float = 0.0) -> ScriptedChatModel:
    answer = world(lambda hint, _: 1 if hint else WRONG, targets_of(SESSIONS, make_catalog()))
    return ScriptedChatModel([answer] * 10 * DISTINCT, latency=latency)


async def test_13_each_distinct_prompt_is_asked_once_and_training_asks_nothing(
    tmp_path: Path,
) -> None:
    model = scripted(latency=0.001)
    for _ in range(2):
        # Both attempts of a run, each with a gateway of its own.
        async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
            components = make_components(model)
            components = replace(components, model=ModelGateway(model, "scripted", journal))
            table, again = await asyncio.gather(
                *(fill_reward_table(SESSIONS, HINTS, components, 8, lambda: None) for _ in range(2))
            )
            assert (table.ndcg == again.ndcg).all()
            for hint in HINTS:
                await components.hint_store.add(hint, components.embeddings.embed_query(hint.text))
            offer = await offer_hints(SESSIONS, components)
    ScoringPPOTrainer(PPOConfig(iterations=2)).fit(table.rewarded(offer))
    asked = Counter(str([(m.type, m.text) for m in messages]) for messages in model.calls)
    assert set(asked.values()) == {1}
    assert len(model.calls) == DISTINCT


async def test_13_calls_are_made_side_by_side_up_to_a_limit() -> None:
    model = scripted(latency=0.05)
    components = make_components(model)
    await fill_reward_table(SESSIONS, HINTS, components, 12, lambda: None)
    # On a slow computer the first may be answered before the last is asked.
    assert 3 < model.most_at_once <= 12

    model = scripted(latency=0.02)
    limiter = CallLimiter(CallLimits(max_concurrency=3))
    components = replace(components, model=ModelGateway(model, "scripted", limiter=limiter))
    await fill_reward_table(SESSIONS[:6], HINTS, components, 12, lambda: None)
    assert 1 < model.most_at_once <= 3


async def test_13_a_rate_limit_is_kept_by_all_who_ask() -> None:
    model = ScriptedChatModel(["fine"] * 60)
    limiter = CallLimiter(CallLimits(requests_per_minute=3000))
    gateways = [ModelGateway(model, f"m{n}", limiter=limiter) for n in range(2)]
    began = time.perf_counter()
    await asyncio.gather(
        *(gateways[n % 2].ask("rank", [HumanMessage(f"question {n}")]) for n in range(60))
    )
    # Twenty-five each half second: the last ones start a second after the first.
    assert time.perf_counter() - began > 0.9
    model.assert_exhausted()
