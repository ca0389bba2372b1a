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
from agentrec.graphs.offering import offer_of
from agentrec.graphs.recommending import (
    RankingAnswer,
    ground_shuffled,
    recommend_shuffled,
)
from agentrec.hint_offers import HintChoices
from agentrec.hints import HintChoice, ScoredHint
from agentrec.rankings import Ranking
from agentrec.sessions import Session

ENCODED_IN_THE_LOOP = 256
"""Candidates up to which encoding takes less than a millisecond; with more a thread does it."""


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
        scores: What the policy thinks of no hint (``None``) and of each hint offered, by its id,
            best first.
        answers: The model's answers: one, or one for each order of the candidates.
        notes: What became of requests without an answer.
        ranking: The result.
    """

    state: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]
    offered: list[ScoredHint]
    choice: HintChoice
    scores: dict[str | None, float]
    answers: list[RankingAnswer]
    notes: tuple[str, ...]
    ranking: Ranking


async def encode_session(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Turn the session into vectors."""
    encoder, session = components_of(runtime).encoder, state["session"]

    def encode() -> dict[str, object]:
        return {"state": encoder.state(session), "query": encoder.query(session)}

    if len(session.candidates) <= ENCODED_IN_THE_LOOP:
        return encode()
    return await asyncio.to_thread(encode)


async def retrieve_hints(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Find the stored hints nearest to the session."""
    components = components_of(runtime)
    query = state["query"].tolist()
    found = await components.hint_store.search(query, components.hints_offered)
    return {"offered": found}


async def choose_hint(
    state: RecommendationState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Let the policy choose one of them, or none."""
    policy = components_of(runtime).hint_policy

    def choose() -> HintChoices:
        return policy.choose(
            offer_of(state["state"][None], [state["offered"]], len(state["query"]))
        )

    choices = await asyncio.to_thread(choose)
    return {"choice": choices[0], "scores": choices.scores_of(0)}


async def ask_model(state: RecommendationState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask the model, with the hint if one was chosen, as often as the components say."""
    chosen = state["choice"].hint_id
    offered = (scored.hint for scored in state["offered"])
    hint = next((hint for hint in offered if hint.hint_id == chosen), None)
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
    returns holds ``ranking``, ``choice`` and ``scores``.
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
