"""CPU of the recommendation graph beside an empty graph of as many nodes, in one run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median

import pytest
from benchmarks.recommending_parts import NODES, InstantModel, empty_graph, load, parts, sessions

from agentrec.graphs.recommendation import build_recommendation_graph
from agentrec.llm.gateway import ModelGateway
from agentrec.sessions import Session

RUNS = 200
ROUNDS = 7


async def cpu_per_run(run: Callable[[Session], Awaitable[object]], start: int) -> float:
    asked = list(sessions(RUNS, start))
    begun = time.process_time()
    for session in asked:
        await run(session)
    return (time.process_time() - begun) / RUNS


@pytest.mark.bench
async def test_cpu_of_the_recommendation_graph() -> None:
    components = await parts(ModelGateway(InstantModel(), "instant"))
    recommending, empty = build_recommendation_graph(), empty_graph()
    ratios, ours, bares, above = [], [], [], []
    for n in range(ROUNDS + 1):
        own = await cpu_per_run(
            lambda s: recommending.ainvoke({"session": s}, context=components), n * RUNS
        )
        bare = await cpu_per_run(lambda s: empty.ainvoke({"session": s}), n * RUNS)
        model = await cpu_per_run(lambda s: InstantModel().ainvoke(s.session_id), n * RUNS)
        if n:  # the first round warms up
            ratios.append(own / bare)
            above.append((own - model) / bare)
            ours.append(own)
            bares.append(bare)
    print(
        f"\nrecommendation graph: {1000 * median(ours):.2f} ms CPU a session, "
        f"{median(ratios):.2f} x an empty graph of {NODES} nodes, "
        f"{1000 * median(bares):.2f} ms (rounds: "
        + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        + f"); without LangChain's own part of the model's call {median(above):.2f} x; {load()}"
    )
    assert all(ratio > 0 for ratio in ratios)
