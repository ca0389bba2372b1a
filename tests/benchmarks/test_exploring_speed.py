"""Sixty-four sessions in flight against a model that takes half a second an answer."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import (
    WRONG,
    TitleEncoder,
    blocks_of,
    last_item,
    make_components,
    ranking_with,
    task_of,
)

from agentrec.app.learning.exploration import explore
from agentrec.catalog import Catalog, Item
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.sessions import Session
from agentrec.testing.loop_watch import LoopWatch
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS, IN_FLIGHT, LATENCY, PROBES = 256, 64, 0.5, 16
RIGHT, ERROR = 1, 6
"""Answers one after another: a ranking; or that, three reflections, a trial, and the probes."""


def title(number: int) -> str:
    return f"Title {number:03d}"


def session(number: int) -> Session:
    own = [f"i{(number + step) % SESSIONS}" for step in range(30)]
    return Session(
        session_id=f"s{number}",
        items=(own[29], own[0]),
        target=own[1],
        candidates=tuple(own[1:25]),
    )


def is_right(number: int) -> bool:
    return number % 3 == 0


def answer(messages: Sequence[BaseMessage]) -> str:
    number = int(last_item(messages).split()[1])
    task = task_of(messages)
    if task == "rank":
        helped = "hint" in blocks_of(messages)
        place: int | str = 1 if helped else 3 if is_right(number) else WRONG
        return ranking_with(messages, title((number + 1) % SESSIONS), place)
    if task == "hints":
        return f"1. Prefer whatever rhymes with {chr(97 + number % 26) * (2 + number // 26)}."
    return f"A {task}."


def bound(depths: Sequence[int]) -> float:
    """Seconds if nothing but the model took time and a free place took the next session."""
    free = [0.0] * IN_FLIGHT
    for depth in depths:
        heapq.heapreplace(free, free[0] + depth * LATENCY)
    return max(free)


@pytest.mark.bench
@pytest.mark.parametrize("calls_at_once", [IN_FLIGHT, 100_000])
async def test_exploring_takes_as_long_as_the_model_does(calls_at_once: int) -> None:
    catalog = Catalog(Item(item_id=f"i{n}", title=title(n)) for n in range(SESSIONS))
    model = ScriptedChatModel([answer] * 20_000, latency=LATENCY)
    components = replace(
        make_components(ScriptedChatModel([]), max_hints=10_000, effect_correlation=2.0),
        catalog=catalog,
        encoder=TitleEncoder(catalog),
        model=ModelGateway(model, "scripted", max_concurrency=calls_at_once),
    )
    sessions = [session(number) for number in range(SESSIONS)]
    begun = time.perf_counter()
    async with LoopWatch() as watch:
        done = await explore(
            sessions,
            components,
            build_hint_learning_graph(),
            IN_FLIGHT,
            lambda: None,
            sessions,
            PROBES,
        )
    wall = time.perf_counter() - begun
    ideal = max(
        bound([RIGHT if is_right(number) else ERROR for number in range(SESSIONS)]),
        len(model.calls) * LATENCY / calls_at_once,
    )
    assert done.explored == SESSIONS
    print(
        f"\n{SESSIONS} sessions, {len(model.calls)} calls of {LATENCY} s, {IN_FLIGHT} sessions and"
        f" {calls_at_once} calls in flight:"
        f" {wall:.1f} s, bound {ideal:.1f} s, ratio {wall / ideal:.2f};"
        f" {len(done.hints)} hints admitted; loop blocked at most {watch.longest * 1000:.0f} ms"
        f"{''.join(f'{chr(10)}  {block}' for block in watch.blocked[:5])}"
    )
