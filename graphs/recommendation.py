"""The recommendation graph: encode, retrieve hints, choose one or none, recommend, ground."""

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
from agentrec.graphs.recommending import (
    RankingAnswer,
    ground_shuffled,
    recommend_shuffled,
)
from agentrec.hints import Hint, HintChoice
from agentrec.rankings import Ranking
from agentrec.sessions import Session


class RecommendationInput(TypedDict):
    """What the graph is called with."""

    session: Session


class RecommendationState(RecommendationInput, total=False):
    """What the nodes pass on.

    Attributes:
        state: Encoded session, ``[state_dim]``.
        query: Search vector, ``[dimension]``.
        offered: The nearest stored hints, nearest first.
        choice: The policy's choice.
        answers: The model's answers: one, or one for each order of the candidates.
        notes: What became of requests without an answer.
        ranking: The result.
    """

    state: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]
    offered: list[Hint]
    choice: HintChoice
    answers: list[RankingAnswer]
    notes: tuple[str, ...]
    ranking: Ranking


async def encode_session(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Turn the session into vectors."""
    encoder = components_of(runtime).encoder
    return {"state": encoder.state(state["session"]), "query": encoder.query(state["session"])}


async def retrieve_hints(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Find the stored hints nearest to the session."""
    components = components_of(runtime)
    query = state["query"].tolist()
    found = await components.hint_store.search(query, components.hints_offered)
    return {"offered": [scored.hint for scored in found]}


async def choose_hint(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Let the policy choose one of them, or none."""
    policy = components_of(runtime).hint_policy
    batch = state["state"][None]
    (choice,) = await asyncio.to_thread(policy.choose, batch, state["offered"])
    return {"choice": choice}


async def ask_model(state: RecommendationState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask the model, with the hint if one was chosen, as often as the components say."""
    chosen = state["choice"].hint_id
    hint = next((hint for hint in state["offered"] if hint.hint_id == chosen), None)
    answers, notes = await recommend_shuffled(state["session"], hint, components_of(runtime))
    return {"answers": answers, "notes": notes}


async def ground_answer(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Make one valid ranking of the answers."""
    components = components_of(runtime)
    return {"ranking": await ground_shuffled(state["answers"], components, state["notes"])}


RecommendationGraph = CompiledStateGraph[
    RecommendationState, Components, RecommendationInput, RecommendationState
]


def build_recommendation_graph() -> RecommendationGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns holds ``ranking`` and ``choice``.
    """
    graph = StateGraph(
        RecommendationState, context_schema=Components, input_schema=RecommendationInput
    )
    graph.add_node("encode_session", encode_session)
    graph.add_node("retrieve_hints", retrieve_hints)
    graph.add_node("choose_hint", choose_hint)
    graph.add_node("recommend", ask_model)
    graph.add_node("ground", ground_answer)
    graph.add_edge(START, "encode_session")
    graph.add_edge("encode_session", "retrieve_hints")
    graph.add_edge("retrieve_hints", "choose_hint")
    graph.add_edge("choose_hint", "recommend")
    graph.add_edge("recommend", "ground")
    graph.add_edge("ground", END)
    return graph.compile()
