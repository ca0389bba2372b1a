"""The recommendation graph: encode, retrieve hints, choose one or none, recommend, ground."""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer

from agentrec.components import Components
from agentrec.graphs.context import components_of
from agentrec.graphs.hint_choosing import (
    HintChoosingInput,
    HintChoosingState,
    choose_hint,
    encode_session,
    retrieve_hints,
)
from agentrec.graphs.recommending import (
    RankingAnswer,
    ground_shuffled,
    recommend_shuffled,
)
from agentrec.rankings import Ranking


class RecommendationInput(HintChoosingInput):
    """What the graph is called with: a session with candidates."""


class RecommendationState(HintChoosingState, total=False):
    """What the nodes pass on, beside what choosing a hint does.

    Attributes:
        answers: The model's answers: one, or one for each order of the candidates.
        notes: What became of requests without an answer.
        ranking: The result.
    """

    answers: list[RankingAnswer]
    notes: tuple[str, ...]
    ranking: Ranking


async def ask_model(state: RecommendationState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask the model, with the hint if one was chosen, as often as the components say."""
    components = components_of(runtime)
    answers, notes = await recommend_shuffled(state["session"], state["hint"], components)
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


def build_recommendation_graph(checkpointer: Checkpointer = None) -> RecommendationGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns holds ``ranking``, ``hint``, ``choice`` and ``scores``.

    Args:
        checkpointer: LangGraph's: where steps are kept, so that a call can be stopped before a node
            and gone on with, under a ``thread_id``; ``None`` for nowhere. With
            ``LANGGRAPH_STRICT_MSGPACK=true`` nothing but the graph's own types is read from it.
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
    return graph.compile(checkpointer=checkpointer)
