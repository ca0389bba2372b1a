"""The recommendation graph: encode, retrieve hints, choose one or none, recommend, ground."""

from __future__ import annotations

import asyncio
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer

from agentrec.components import Components
from agentrec.graphs.context import components_of
from agentrec.graphs.recommendation.build_offer import build_offer
from agentrec.graphs.recommendation.ranking import (
    RankingAnswer,
    ground_shuffled,
    recommend_shuffled,
)
from agentrec.hint_offers import NO_CANDIDATE, HintChoices
from agentrec.hints import Hint, HintChoice, ScoredHint
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.streaming.adaptive_offloading import OffloaderByOwner

ENCODED_IN_THE_LOOP = 256
"""Sessions with at most this many candidates are encoded in the event loop: it takes less than a
millisecond. Larger ones are encoded in a thread."""

# One for each policy: a linear policy is faster than starting a thread, a large network is not.
_OFFLOADING = OffloaderByOwner()


class HintChoosingInput(TypedDict):
    """The input of the graph: a session."""

    session: Session


class HintChoosingState(HintChoosingInput, total=False):
    """The state between the nodes that choose a hint.

    Attributes:
        state: Encoded session, ``[state_dim]``.
        query: Search vector, ``[dimension]``.
        offered: The nearest stored hints, nearest first.
        choice: The policy's choice.
        scores: The policy's score of no hint (``None``) and of each offered hint, by id, best
            first.
        hint: The chosen hint; ``None`` for no hint.
    """

    state: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]
    offered: list[ScoredHint]
    choice: HintChoice
    scores: dict[str | None, float]
    hint: Hint | None


class RecommendationInput(HintChoosingInput):
    """The input of the graph: a session with candidates."""


class RecommendationState(HintChoosingState, total=False):
    """The state between the nodes, in addition to that of choosing a hint.

    Attributes:
        answers: The model's answers: one for each order of the candidates.
        notes: Which requests failed, if any.
        ranking: The result.
    """

    answers: list[RankingAnswer]
    notes: tuple[str, ...]
    ranking: Ranking


async def encode(state: HintChoosingState, runtime: Runtime[Components]) -> dict[str, object]:
    """Encode the session as vectors."""
    encoder, session = components_of(runtime).encoder, state["session"]

    def vectors() -> dict[str, object]:
        return {"state": encoder.state(session), "query": encoder.query(session)}

    if len(session.candidates) <= ENCODED_IN_THE_LOOP:
        return vectors()
    return await asyncio.to_thread(vectors)


async def retrieve(state: HintChoosingState, runtime: Runtime[Components]) -> dict[str, object]:
    """Find the stored hints nearest to the session."""
    components = components_of(runtime)
    query = state["query"].tolist()
    found = await components.hint_store.search(query, components.hints_offered)
    return {"offered": found}


async def choose(state: HintChoosingState, runtime: Runtime[Components]) -> dict[str, object]:
    """Let the policy choose one of the hints, or none."""
    policy, offered = components_of(runtime).hint_policy, state["offered"]

    def chosen() -> HintChoices:
        return policy.choose(build_offer(state["state"][None], [offered], len(state["query"])))

    choices = await _OFFLOADING.of(policy).run(chosen)
    index = int(choices.hint_indices[0])
    hint = None if index == NO_CANDIDATE else choices.offer.hints[index]
    return {"choice": choices[0], "scores": choices.scores_of(0), "hint": hint}


async def recommend(state: RecommendationState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask the model, with the hint if one was chosen, once for each order of the candidates."""
    components = components_of(runtime)
    answers, notes = await recommend_shuffled(state["session"], state["hint"], components)
    return {"answers": answers, "notes": notes}


async def ground(state: RecommendationState, runtime: Runtime[Components]) -> dict[str, object]:
    """Make one valid ranking from the answers."""
    components = components_of(runtime)
    return {"ranking": await ground_shuffled(state["answers"], components, state["notes"])}


HintChoosingGraph = CompiledStateGraph[
    HintChoosingState, Components, HintChoosingInput, HintChoosingState
]
RecommendationGraph = CompiledStateGraph[
    RecommendationState, Components, RecommendationInput, RecommendationState
]


def build_hint_choosing_graph() -> HintChoosingGraph:
    """Compile the first half of the recommendation graph, which calls no language model.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``, or use it as a
    node of a graph whose state has ``session`` and ``hint``. The state it returns holds ``hint``,
    ``choice`` and ``scores``.
    """
    graph = StateGraph(HintChoosingState, context_schema=Components, input_schema=HintChoosingInput)
    graph.add_node("encode", encode)
    graph.add_node("retrieve", retrieve)
    graph.add_node("choose", choose)
    graph.add_edge(START, "encode")
    graph.add_edge("encode", "retrieve")
    graph.add_edge("retrieve", "choose")
    graph.add_edge("choose", END)
    return graph.compile()


def build_recommendation_graph(checkpointer: Checkpointer = None) -> RecommendationGraph:
    """Compile the graph. Compile it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns holds ``ranking``, ``hint``, ``choice`` and ``scores``.

    Args:
        checkpointer: A LangGraph checkpointer, to interrupt a call before a node and resume it by
            its ``thread_id``; ``None`` for no checkpoints. The graph also works with
            ``LANGGRAPH_STRICT_MSGPACK=true``: its state then loads only the graph's own types.
    """
    graph = StateGraph(
        RecommendationState, context_schema=Components, input_schema=RecommendationInput
    )
    graph.add_node("encode", encode)
    graph.add_node("retrieve", retrieve)
    graph.add_node("choose", choose)
    graph.add_node("recommend", recommend)
    graph.add_node("ground", ground)
    graph.add_edge(START, "encode")
    graph.add_edge("encode", "retrieve")
    graph.add_edge("retrieve", "choose")
    graph.add_edge("choose", "recommend")
    graph.add_edge("recommend", "ground")
    graph.add_edge("ground", END)
    return graph.compile(checkpointer=checkpointer)
