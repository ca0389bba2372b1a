from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from testing.answering import make_components, make_session, targets_of, world

from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.recommendation.recommend_many import SessionResult, failure_of, recommend_many
from agentrec.sessions import Session
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(20)]


def model_for(sessions: Sequence[Session], **options: object) -> ScriptedChatModel:
    catalog = make_components(ScriptedChatModel([])).catalog
    answer = world(lambda *_: 3, targets_of(sessions, catalog))
    return ScriptedChatModel([answer] * 200, **options)  # type: ignore[arg-type]


async def live(sessions: Sequence[Session]) -> AsyncIterator[Session]:
    for session in sessions:
        yield session


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_session_has_its_ranking(ordered: bool, asynchronous: bool) -> None:
    components = make_components(model_for(SESSIONS))
    given = live(SESSIONS) if asynchronous else SESSIONS
    results = [one async for one in recommend_many(given, components, ordered=ordered)]
    if ordered:
        assert [one.session for one in results] == SESSIONS
    assert sorted(one.position for one in results) == list(range(20))
    for one in results:
        assert one.failure is None
        assert one.ranking.session_id == one.session.session_id
        assert one.ranking.rank_of(one.session.target or "") == 3
        assert one.seconds > 0


async def test_failures_are_typed_and_stand_beside_results() -> None:
    targets = targets_of(SESSIONS, make_components(ScriptedChatModel([])).catalog)
    good = world(lambda *_: 1, targets)
    # Which calls fail, and not which sessions: those may come in any order.
    script: list[object] = [good] * 20
    script[4] = ModelCallError("the endpoint is busy", kind="rate_limited")
    script[11] = ModelCallError("no key", kind="refused")
    components = make_components(ScriptedChatModel(script))  # type: ignore[arg-type]
    results = [one async for one in recommend_many(SESSIONS, components, concurrency=3)]
    failures = [one for one in results if one.failure is not None]
    assert sorted((one.failure.kind, one.failure.transient) for one in failures if one.failure) == [
        ("rate_limited", True),
        ("refused", False),
    ]
    assert len(results) == 20
    with pytest.raises(ModelCallError):
        _ = failures[0].ranking


class Counting(TypedDict, total=False):
    session: Session
    number: int
    length: int


class Users(TypedDict):
    extra: int


def users_graph(checkpointer: InMemorySaver | None = None):  # type: ignore[no-untyped-def]
    async def count(state: Counting, runtime) -> dict[str, int]:  # type: ignore[no-untyped-def]
        if state["session"].session_id == "s3":
            raise ZeroDivisionError
        return {"length": len(state["session"].items) + runtime.context["extra"]}

    graph = StateGraph(Counting, context_schema=Users)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_edge("count", END)
    return graph.compile(checkpointer=checkpointer)


async def test_any_compiled_graph_with_any_context() -> None:
    results = [
        one
        async for one in recommend_many(
            SESSIONS[:5], Users(extra=7), graph=users_graph(), ordered=True
        )
    ]
    assert [None if one.state is None else one.state["length"] for one in results] == [
        9,
        9,
        9,
        None,
        9,
    ]
    failure = results[3].failure
    assert failure is not None
    assert (failure.kind, failure.problem) == ("error", "ZeroDivisionError")
    with pytest.raises(KeyError):
        _ = results[0].ranking


async def test_inputs_of_another_form_and_callbacks() -> None:
    class Seen(AsyncCallbackHandler):
        chains = 0

        async def on_chain_start(self, *_: object, **__: object) -> None:
            self.chains += 1

    seen = Seen()
    results = recommend_many(
        SESSIONS[:2],
        Users(extra=0),
        graph=users_graph(),
        inputs=lambda session: {"session": session, "number": 5},
        config={"callbacks": [seen]},
    )
    async with aclosing(results):
        async for one in results:
            assert one.state is not None
            assert one.state["number"] == 5
    assert seen.chains >= 2


@pytest.mark.parametrize("structured", [False, True])
async def test_callbacks_see_the_models_calls_inside_the_nodes_that_asked(structured: bool) -> None:
    class Seen(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.names: dict[UUID, str] = {}
            self.above: dict[UUID, UUID | None] = {}
            self.asked: list[UUID] = []
            self.answered: list[UUID] = []

        async def on_chain_start(self, *_: object, run_id: UUID, **details: Any) -> None:
            self.names[run_id], self.above[run_id] = details["name"], details["parent_run_id"]

        async def on_chat_model_start(self, *_: object, run_id: UUID, **details: Any) -> None:
            self.above[run_id] = details["parent_run_id"]
            self.asked.append(run_id)

        async def on_llm_end(self, *_: object, run_id: UUID, **__: object) -> None:
            self.answered.append(run_id)

    async def asking(model: BaseChatModel) -> None:
        components = make_components(model)  # type: ignore[arg-type]
        results = recommend_many(SESSIONS, components, config={"callbacks": [seen]})
        assert len([one.ranking async for one in results]) == len(SESSIONS)

    seen = Seen()
    if structured:
        with OpenAIServer(model_for(SESSIONS)) as server:
            # Of this one it is known that its answers can be made to fit a schema.
            await asking(
                ChatOpenAI(model="gpt-4o-mini", base_url=server.base_url, api_key="unused")
            )
            assert all("response_format" in body for body in server.bodies)
    else:
        await asking(model_for(SESSIONS))
    assert sorted(seen.asked) == sorted(seen.answered)
    nodes = [seen.above[run] for run in seen.asked]
    assert [seen.names[node] for node in nodes if node is not None] == ["recommend"] * 20
    graphs = {seen.above[node] for node in nodes if node is not None}
    assert len(graphs) == len(SESSIONS)
    assert {seen.names[graph] for graph in graphs if graph is not None} == {"LangGraph"}


async def test_each_session_has_its_own_thread_in_a_checkpointer() -> None:
    saver = InMemorySaver()
    graph = users_graph(saver)
    async for _ in recommend_many(SESSIONS[:3], Users(extra=0), graph=graph):
        pass
    for session in SESSIONS[:3]:
        kept = await graph.aget_state({"configurable": {"thread_id": session.session_id}})
        assert kept.values["session"] == session


async def test_who_stops_early_makes_no_further_calls() -> None:
    components = make_components(model := model_for(SESSIONS))
    seen: list[SessionResult] = []
    async with aclosing(recommend_many(SESSIONS, components, concurrency=2)) as results:
        async for one in results:
            seen.append(one)
            if len(seen) == 3:
                break
    await components.model.aclose()
    made = len(model.calls)
    assert made < len(SESSIONS)


async def test_a_session_that_takes_too_long_is_given_up() -> None:
    def slow(messages: Sequence[BaseMessage]) -> str:
        raise AssertionError("nobody waits for this")

    components = make_components(ScriptedChatModel([slow] * 3, latency=60))
    results = [one async for one in recommend_many(SESSIONS[:3], components, time_limit=0.05)]
    assert {one.failure.kind for one in results if one.failure} == {"unfinished"}
    assert all(one.failure.transient for one in results if one.failure)


async def test_the_default_graph_wants_components() -> None:
    with pytest.raises(InputError, match="needs Components"):
        await anext(recommend_many(SESSIONS, {"not": "components"}))


def test_a_problem_is_one_line_whatever_was_raised() -> None:
    failure = failure_of(RuntimeError("a\nb\x1b[31m" + "c" * 1000))
    assert failure.kind == "error"
    assert failure.problem.startswith("RuntimeError: a b")
    assert len(failure.problem) < 330
    assert failure_of(InputError("is wrong", field="items")).kind == "bad_input"
