"""The hint-choosing graph: encode the session, retrieve hints, let the policy choose."""

from __future__ import annotations

import asyncio
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.graphs.context import components_of
from agentrec.graphs.offering import offer_of
from agentrec.hint_offers import NO_CANDIDATE, HintChoices
from agentrec.hints import Hint, HintChoice, ScoredHint
from agentrec.sessions import Session
from agentrec.streaming.adaptive_offloading import ShortWorks

ENCODED_IN_THE_LOOP = 256
"""Candidates up to which encoding takes less than a millisecond; with more a thread does it."""


# Of each policy: a linear one is done sooner than a thread has begun, a large network is not.
_CHOOSING = ShortWorks()


class HintChoosingInput(TypedDict):
    """What the graph is called with."""

    session: Session


class HintChoosingState(HintChoosingInput, total=False):
    """What the nodes pass on.

    Attributes:
        state: Encoded session, ``[state_dim]``.
        query: Search vector, ``[dimension]``.
        offered: The nearest stored hints, nearest first.
        choice: The policy's choice.
        scores: What the policy thinks of no hint (``None``) and of each hint offered, by its id,
            best first.
        hint: What was chosen; ``None`` for no hint.
    """

    state: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]
    offered: list[ScoredHint]
    choice: HintChoice
    scores: dict[str | None, float]
    hint: Hint | None


async def encode_session(
    state: HintChoosingState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Turn the session into vectors."""
    encoder, session = components_of(runtime).encoder, state["session"]

    def encode() -> dict[str, object]:
        return {"state": encoder.state(session), "query": encoder.query(session)}

    if len(session.candidates) <= ENCODED_IN_THE_LOOP:
        return encode()
    return await asyncio.to_thread(encode)


async def retrieve_hints(
    state: HintChoosingState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Find the stored hints nearest to the session."""
    components = components_of(runtime)
    query = state["query"].tolist()
    found = await components.hint_store.search(query, components.hints_offered)
    return {"offered": found}


async def choose_hint(state: HintChoosingState, runtime: Runtime[Components]) -> dict[str, object]:
    """Let the policy choose one of them, or none."""
    policy, offered = components_of(runtime).hint_policy, state["offered"]

    def choose() -> HintChoices:
        return policy.choose(offer_of(state["state"][None], [offered], len(state["query"])))

    choices = await _CHOOSING.of(policy).do(choose)
    place = int(choices.places[0])
    hint = None if place == NO_CANDIDATE else choices.offer.hints[place]
    return {"choice": choices[0], "scores": choices.scores_of(0), "hint": hint}


HintChoosingGraph = CompiledStateGraph[
    HintChoosingState, Components, HintChoosingInput, HintChoosingState
]


def build_hint_choosing_graph() -> HintChoosingGraph:
    """Compile the graph: the first half of the recommendation graph, asking no language model.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``, or make it a
    node of a graph whose state has ``session`` and ``hint``; the state it returns holds ``hint``,
    ``choice`` and ``scores``.
    """
    graph = StateGraph(HintChoosingState, context_schema=Components, input_schema=HintChoosingInput)
    graph.add_node("encode_session", encode_session)
    graph.add_node("retrieve_hints", retrieve_hints)
    graph.add_node("choose_hint", choose_hint)
    graph.add_edge(START, "encode_session")
    graph.add_edge("encode_session", "retrieve_hints")
    graph.add_edge("retrieve_hints", "choose_hint")
    graph.add_edge("choose_hint", END)
    return graph.compile()
