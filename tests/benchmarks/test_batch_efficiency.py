"""How well `recommend_many` uses an endpoint, beside plain LangGraph; all numbers from one run.

The endpoint is a process of its own with a set latency and a set limit. The ideal time of N
sessions, C at a time, L seconds each, is that of full waves: ``ceil(N / C) * L``.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.paced_endpoint import PLACES, PacedEndpoint
from benchmarks.recommending_parts import (
    InstantModel,
    chain_graph,
    load,
    parts,
    sessions,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI

from agentrec.components import Components
from agentrec.graphs.recommendation.ranking import view_of
from agentrec.graphs.recommendation.recommend_many import recommend_many
from agentrec.llm.chat_models import open_chat_model
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits

LIMIT, LIMITED_FOR = 1200, 90
"""Requests a minute, and for how many seconds they are made."""


@dataclass(frozen=True)
class Task:
    """So many sessions, so many at a time, against an endpoint."""

    endpoint: PacedEndpoint
    count: int
    concurrency: int
    folder: Path
    per_minute: float | None = None


def chat_model(endpoint: PacedEndpoint) -> BaseChatModel:
    """What the command line opens."""
    return open_chat_model("openai:paced", {"api_key": "none", "base_url": endpoint.base_url})


def plain_model(endpoint: PacedEndpoint) -> BaseChatModel:
    """LangChain's, as it comes."""
    fields: dict[str, Any] = {"api_key": "none", "base_url": endpoint.base_url}
    return ChatOpenAI(model="paced", max_retries=0, timeout=60, **fields)


def prompt_of(components: Components, session: Any) -> list[BaseMessage]:
    """What the recommendation graph would ask of a session without a hint."""
    view = view_of(session, components)
    given = {"history": view.history_block, "candidates": view.candidate_block}
    return components.prompts.render("recommend", {**given, "hint": "", "count": PLACES})


async def prompts(count: int) -> list[list[BaseMessage]]:
    components = await parts(ModelGateway(InstantModel(), "instant"))
    return [prompt_of(components, session) for session in sessions(count)]


@asynccontextmanager
async def closing(model: Any) -> AsyncIterator[BaseChatModel]:
    """Leaves no connection of a client of OpenAI's open."""
    try:
        yield model
    finally:
        await model.root_async_client.close()


async def by_recommend_many(task: Task) -> float:
    async with (
        closing(chat_model(task.endpoint)) as model,
        await CallJournal.open(task.folder / "calls.sqlite") as journal,
    ):
        gateway = ModelGateway(
            model,
            "paced",
            journal,
            limiter=CallLimiter(CallLimits(task.concurrency, task.per_minute)),
        )
        components = await parts(gateway)
        many = sessions(task.count)
        start = time.perf_counter()
        done = 0
        async for result in recommend_many(many, components, concurrency=task.concurrency):
            assert result.failure is None, result.failure
            assert result.ranking.backfilled == 0
            done += 1
        wall = time.perf_counter() - start
        assert (done, len(journal)) == (task.count, task.count + 1)
        return wall


async def by_plain_langgraph(task: Task) -> float:
    """``abatch`` of a graph whose one node asks the model: no hints, no journal, no ranking."""
    async with closing(plain_model(task.endpoint)) as model:

        async def ask(state: Any) -> dict[str, object]:
            await model.ainvoke(state["session"])
            return {}

        asked: list[Any] = [{"session": prompt} for prompt in await prompts(task.count)]
        graph = chain_graph(ask)
        start = time.perf_counter()
        await graph.abatch(asked, {"max_concurrency": task.concurrency})
        return time.perf_counter() - start


WAYS: dict[str, Callable[[Task], Awaitable[float]]] = {
    "recommend_many, whole graph, journal": by_recommend_many,
    "plain LangGraph abatch": by_plain_langgraph,
}


@pytest.mark.bench
@pytest.mark.parametrize(("concurrency", "latency", "count"), [(256, 2.0, 2000), (64, 0.5, 1000)])
async def test_share_of_the_ideal(
    concurrency: int, latency: float, count: int, tmp_path: Path
) -> None:
    ideal = math.ceil(count / concurrency) * latency
    print(f"\n{count} sessions, {concurrency} at a time, {latency:g} s each: ideal {ideal:.1f} s")
    for name, way in WAYS.items():
        with PacedEndpoint(latency) as endpoint:
            cpu = time.process_time()
            wall = await way(Task(endpoint, count, concurrency, tmp_path))
            cpu = time.process_time() - cpu
            seen = endpoint.stats()
        print(
            f"{name:38} {wall:6.2f} s, efficiency {ideal / wall:.3f}, "
            f"{1000 * cpu / count:5.2f} ms CPU a session, "
            f"most in flight {seen['most_in_flight']:.0f}, "
            f"connections {seen['connections']:.0f}; {load()}"
        )
        assert seen["most_in_flight"] <= concurrency
        assert seen["requests"] >= count


@pytest.mark.bench
async def test_share_of_a_limit_a_minute(tmp_path: Path) -> None:
    count = LIMIT * LIMITED_FOR // 60
    with PacedEndpoint(0.5, limit=LIMIT) as endpoint:
        await by_recommend_many(Task(endpoint, count, 64, tmp_path, per_minute=LIMIT))
        seen = endpoint.stats()
    used = (seen["requests"] - 1) / (seen["last"] - seen["first"]) * 60 / LIMIT
    print(
        f"\n{LIMIT} requests a minute allowed, {count} sessions: {used:.3f} of the limit used, "
        f"busiest minute {seen['busiest_window']:.0f}, refused {seen['refused']:.0f}; {load()}"
    )
    assert seen["refused"] == 0
