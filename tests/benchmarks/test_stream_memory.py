"""Whether memory and speed stay as they are over very many streamed sessions.

``AGENTREC_BENCH_SESSIONS`` says how many, and ``AGENTREC_BENCH_GRAPH`` through what: ``whole``, the
recommendation graph, or ``one``, a graph of one node that asks the model. A million takes hours
through the one and most of an hour through the other.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks.recommending_parts import Empty, InstantModel, chain_graph, load, parts, sessions
from langchain_core.messages import HumanMessage
from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.graphs.recommendation.recommend_many import recommend_many
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "50000"))
GRAPH = os.environ.get("AGENTREC_BENCH_GRAPH", "whole")
FIRST = min(10_000, SESSIONS // 10)
TOLD = SESSIONS // 10
AT_HAND = 2**20
"""Bytes of answers that the journal keeps at hand: full long before memory is first looked at."""


async def ask(state: Empty, runtime: Runtime[Components]) -> Empty:
    session = state["session"]
    told = HumanMessage(f"{session.session_id} {session.items} {session.candidates}")
    await runtime.context.model.ask("recommend", [told])
    return {}


def graph() -> Any:
    return build_recommendation_graph() if GRAPH == "whole" else chain_graph(ask)


@pytest.mark.bench
async def test_memory_over_many_sessions(tmp_path: Path) -> None:
    process = psutil.Process()
    print(f"\n{SESSIONS} sessions through the {GRAPH} graph, journal file; {load()}")
    resident: list[float] = []
    speeds: list[float] = []
    async with await CallJournal.open(tmp_path / "calls.sqlite", memory=AT_HAND) as journal:
        components = await parts(ModelGateway(InstantModel(), "instant", journal))
        begun, spent, done, before = time.perf_counter(), time.process_time(), 0, 0
        async for result in recommend_many(sessions(SESSIONS), components, graph=graph()):
            assert result.failure is None
            done += 1
            if done == FIRST or done % TOLD == 0:
                now, used, part = time.perf_counter(), time.process_time(), done - before
                resident.append(process.memory_info().rss / 2**20)
                # Of the processor's time: others may have it meanwhile.
                speeds.append(part / (used - spent))
                print(
                    f"{done:9} sessions: {resident[-1]:6.1f} MiB resident, "
                    f"{part / (now - begun):5.0f} sessions/s, {speeds[-1]:5.0f} a second of "
                    f"processor, {load()}",
                    flush=True,
                )
                begun, spent, before = now, used, done
    grown = resident[-1] - resident[0]
    print(
        f"grown by {grown:.1f} MiB after the first {FIRST}; speed of the last {TOLD} "
        f"{speeds[-1] / speeds[1]:.2f} x that of the first {TOLD}"
    )
    # Anything that is kept of a session weighs more than a kilobyte.
    assert grown * 2**20 < 1000 * (SESSIONS - FIRST) or grown < 30
