"""How near recommending for many comes to what an endpoint allows; every number within one run.

The endpoint runs in a process of its own with a set latency and a set limit. Beside the whole
recommendation graph through the gateway with a journal file stand plain LangGraph, with the same
client and with LangChain's default client, and requests made by hand. The ideal wall time of N
sessions, C at a time, L seconds each, is that of full waves: ``ceil(N / C) * L``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.paced_endpoint import PLACES, PacedEndpoint, raw_requests
from benchmarks.recommending_parts import (
    NODES,
    InstantModel,
    chain_graph,
    empty_graph,
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
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal.journal import CallJournal
from agentrec.llm.providers.chat_models import open_chat_model

LIMIT, LIMITED_FOR = 1200, 90
"""Requests a minute, and for how many seconds they are made."""
AT_ONCE, AT_ONCE_SESSIONS = 64, 1000


@dataclass(frozen=True)
class Task:
    """So many sessions, so many at a time, against an endpoint."""

    endpoint: PacedEndpoint
    count: int
    concurrency: int
    folder: Path
    per_minute: float | None = None
    structured: Any = "auto"


def chat_model(endpoint: PacedEndpoint) -> BaseChatModel:
    """What the command line opens."""
    return open_chat_model("openai:paced", {"api_key": "none", "base_url": endpoint.base_url})


def plain_model(endpoint: PacedEndpoint) -> BaseChatModel:
    """LangChain's model with its default client."""
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
            max_concurrency=task.concurrency,
            requests_per_minute=task.per_minute,
            structured=task.structured,
        )
        components = await parts(gateway)
        many = sessions(task.count)
        begun = time.perf_counter()
        done = 0
        async for result in recommend_many(many, components, concurrency=task.concurrency):
            assert result.failure is None, result.failure
            assert result.ranking.backfilled == 0
            done += 1
        wall = time.perf_counter() - begun
        assert (done, len(journal)) == (task.count, task.count + (task.structured == "auto"))
        return wall


async def by_plain_langgraph(
    task: Task, opened: Callable[[PacedEndpoint], BaseChatModel] = plain_model
) -> float:
    """``abatch`` of a graph whose one node asks the model: no hints, no journal, no ranking."""
    async with closing(opened(task.endpoint)) as model:

        async def ask(state: Any) -> dict[str, object]:
            await model.ainvoke(state["session"])
            return {}

        asked: list[Any] = [{"session": prompt} for prompt in await prompts(task.count)]
        graph = chain_graph(ask)
        begun = time.perf_counter()
        await graph.abatch(asked, {"max_concurrency": task.concurrency})
        return time.perf_counter() - begun


async def by_hand(task: Task) -> float:
    """A loop with a semaphore and an HTTP client."""
    bodies = [
        {
            "model": "paced",
            "messages": [
                {"role": {"human": "user"}.get(each.type, each.type), "content": each.content}
                for each in prompt
            ],
        }
        for prompt in await prompts(task.count)
    ]
    free = asyncio.Semaphore(task.concurrency)
    most = httpx.Limits(max_connections=task.concurrency)
    async with httpx.AsyncClient(limits=most, timeout=60) as client:

        async def ask(body: Any) -> None:
            async with free:
                reply = await client.post(f"{task.endpoint.base_url}/chat/completions", json=body)
                reply.raise_for_status().json()["choices"][0]["message"]["content"]

        begun = time.perf_counter()
        await asyncio.gather(*map(ask, bodies))
        return time.perf_counter() - begun


WAYS: dict[str, Callable[[Task], Awaitable[float]]] = {
    "recommend_many, whole graph, journal": by_recommend_many,
    "plain LangGraph abatch": by_plain_langgraph,
    "plain LangGraph, model as opened by agentrec": partial(by_plain_langgraph, opened=chat_model),
    "asyncio and httpx by hand": by_hand,
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


@pytest.mark.bench
async def test_ceiling_of_one_process(tmp_path: Path) -> None:
    """Sessions a second where the endpoint answers at once."""
    asked = await prompts(AT_ONCE_SESSIONS)
    rates: dict[str, float] = {}
    with PacedEndpoint() as endpoint:
        body = b'{"model": "paced", "messages": [' + b" " * 4000 + b"]}"
        rates["the endpoint itself, raw requests"] = await raw_requests(
            endpoint.port, body, 10 * AT_ONCE_SESSIONS, AT_ONCE
        )
        task = Task(endpoint, AT_ONCE_SESSIONS, AT_ONCE, tmp_path)
        rates["asyncio and httpx by hand"] = task.count / await by_hand(task)
        for name, opened in (("as opened", chat_model), ("default client", plain_model)):
            async with closing(opened(endpoint)) as model:
                rates[f"ChatOpenAI {name}"] = await rate_of(model.ainvoke, asked)
        rates[f"empty graph of {NODES} nodes"] = await rate_of(
            empty_graph().ainvoke, [{"session": one} for one in sessions(AT_ONCE_SESSIONS)]
        )
        for structured in ("never", "auto"):
            folder = tmp_path / structured
            wall = await by_recommend_many(
                Task(endpoint, AT_ONCE_SESSIONS, AT_ONCE, folder, structured=structured)
            )
            rates[f"recommend_many, structured {structured}"] = AT_ONCE_SESSIONS / wall
    print(f"\nsessions a second of one process, {AT_ONCE} at a time; {load()}")
    for name, rate in rates.items():
        print(f"{name:38} {rate:8.0f}")
    both = 1 / (1 / rates["ChatOpenAI as opened"] + 1 / rates[f"empty graph of {NODES} nodes"])
    ours = rates["recommend_many, structured never"]
    print(f"recommend_many beside client and empty graph together: {ours / both:.2f}")


async def rate_of(do: Callable[[Any], Awaitable[Any]], given: list[Any]) -> float:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(each: Any) -> None:
        async with free:
            await do(each)

    begun = time.perf_counter()
    await asyncio.gather(*map(one, given))
    return len(given) / (time.perf_counter() - begun)
