"""CPU of the recommendation graph beside an empty graph of as many nodes, in one run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, TypedDict

import numpy as np
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph

from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.data.item_features import discover_features
from agentrec.graphs.recommendation import build_recommendation_graph
from agentrec.hints import Hint
from agentrec.llm.gateway import ModelGateway
from agentrec.llm.prompts import Prompts
from agentrec.llm.session_encoder import RecencySessionEncoder
from agentrec.policies.fixed import RandomHintPolicy
from agentrec.sessions import Session
from agentrec.stores.in_memory import InMemoryHintStore
from agentrec.testing.embeddings import HashedWordEmbeddings

RUNS = 200
ROUNDS = 5


class Empty(TypedDict, total=False):
    session: Session


async def nothing(state: Empty) -> Empty:
    return {}


def empty_graph(nodes: int) -> Any:
    graph = StateGraph(Empty)
    names = [f"node_{n}" for n in range(nodes)]
    for name in names:
        graph.add_node(name, nothing)
    for first, second in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(first, second)
    return graph.compile()


async def parts() -> Components:
    catalog = Catalog(Item(item_id=str(n), title=f"thing {n}") for n in range(500))
    embeddings = HashedWordEmbeddings(64)
    vectors = np.array(
        embeddings.embed_documents([item.title for item in catalog.values()]), dtype=np.float32
    )
    store = InMemoryHintStore(64)
    for n in range(20):
        text = f"Prefer thing {n}."
        await store.add(Hint(text=text), embeddings.embed_query(text))
    answer = "\n".join(f"{n}. C{n:02d}" for n in range(1, 11))
    model = GenericFakeChatModel(messages=iter(lambda: AIMessage(answer), None))
    return Components(
        catalog=catalog,
        model=ModelGateway(model, "scripted"),
        prompts=Prompts.load(),
        embeddings=embeddings,
        encoder=RecencySessionEncoder(catalog, discover_features(catalog, vectors, {}), vectors),
        hint_store=store,
        hint_policy=RandomHintPolicy(0),
    )


async def cpu_per_run(run: Callable[[Session], Awaitable[object]], start: int) -> float:
    sessions = [
        Session(
            session_id=f"s{start + n}",
            items=tuple(str((start + n + k) % 500) for k in range(10)),
            candidates=tuple(str((start + n + k) % 500) for k in range(10, 60)),
        )
        for n in range(RUNS)
    ]
    begun = time.process_time()
    for session in sessions:
        await run(session)
    return (time.process_time() - begun) / RUNS


@pytest.mark.bench
async def test_cpu_of_the_recommendation_graph() -> None:
    components = await parts()
    recommending, empty = build_recommendation_graph(), empty_graph(5)
    ratios, ours = [], []
    for n in range(ROUNDS + 1):
        own = await cpu_per_run(
            lambda s: recommending.ainvoke({"session": s}, context=components), n * RUNS
        )
        bare = await cpu_per_run(lambda s: empty.ainvoke({"session": s}), n * RUNS)
        if n:  # the first round warms up
            ratios.append(own / bare)
            ours.append(own)
    print(
        f"\nrecommendation graph: {1000 * median(ours):.2f} ms CPU a session, "
        f"{median(ratios):.2f} x an empty graph of five nodes (rounds: "
        + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        + ")"
    )
    assert all(ratio > 0 for ratio in ratios)
