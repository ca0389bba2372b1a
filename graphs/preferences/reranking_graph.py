"""The re-ranking graph: factors, one preference text, then rankings that are told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, get_args

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer

from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.preferences.context import RerankingParts, reranking_parts_of
from agentrec.graphs.preferences.preference_sampling import attempt_preference, find_factors
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.rankings import Ranking
from agentrec.sessions import Session

NodeName = Literal["factors", "write", "rerank", "tell"]


class RerankingInput(TypedDict, total=False):
    """What the graph is called with.

    Attributes:
        session: A session with candidates; its target is not looked at.
        hint: Advice to the language model that ranks, as the hint-choosing graph leaves it;
            ``None`` or left out for none.
    """

    session: Session
    hint: Hint | None


class RerankingOutput(TypedDict, total=False):
    """What the graph returns; as a node, what it adds to the state of the graph around it.

    Attributes:
        preference: The text; ``None`` where it could not be written, and all rank without one.
        preference_failure: Why there is no text; ``None`` where there is one.
        reranked: The language model's ranking, given hint and text; only if it was to rank.
        told: All candidates in the recommender's order, told the text; only if there is one.
    """

    preference: str | None
    preference_failure: str | None
    reranked: Ranking
    told: Ranking


class RerankingState(RerankingInput, RerankingOutput, total=False):
    """What the nodes pass on.

    Attributes:
        factors: What the text is about; empty where they could not be had.
    """

    factors: tuple[str, ...]


async def name_factors(
    state: RerankingState, runtime: Runtime[RerankingParts]
) -> dict[str, object]:
    """Take the factors that are given, or ask the writer; the journal answers all but once."""
    parts = reranking_parts_of(runtime)
    if parts.factors:
        return {"factors": parts.factors}
    try:
        return {"factors": await find_factors(parts.writing)}
    except ModelCallError as error:
        if error.kind == "budget_spent":
            raise
        return {"factors": (), "preference": None, "preference_failure": str(error)}


async def write(state: RerankingState, runtime: Runtime[RerankingParts]) -> dict[str, object]:
    """Have the text written; without it the rankings are made all the same."""
    parts = reranking_parts_of(runtime)
    attempt = await attempt_preference(
        state["session"], state["factors"], parts.writing, share=parts.shown_share
    )
    text = attempt.text if attempt.failure is None else None
    return {"preference": text, "preference_failure": attempt.failure}


async def rerank(state: RerankingState, runtime: Runtime[RerankingParts]) -> dict[str, object]:
    """Let the language model rank, given the hint and the text."""
    components = reranking_parts_of(runtime).components
    hint, text = state.get("hint"), state.get("preference")
    return {"reranked": await rank(state["session"], hint, components, text)}


async def tell(state: RerankingState, runtime: Runtime[RerankingParts]) -> dict[str, object]:
    """Let the recommender rank, told the text."""
    session, recommender = state["session"], reranking_parts_of(runtime).recommender
    if recommender is None:
        raise InputError("there is no recommender to tell", field="recommender")
    item_ids = await recommender.rank(session, state.get("preference"))
    return {"told": Ranking(session_id=session.session_id, item_ids=item_ids)}


def _after_factors(state: RerankingState, runtime: Runtime[RerankingParts]) -> Sequence[NodeName]:
    return ["write"] if state["factors"] else _rankers(state, runtime)


def _rankers(state: RerankingState, runtime: Runtime[RerankingParts]) -> Sequence[NodeName]:
    parts = reranking_parts_of(runtime)
    wanted: list[NodeName] = ["rerank"] if parts.by_model else []
    return wanted if parts.recommender is None else [*wanted, "tell"]


RerankingGraph = CompiledStateGraph[RerankingState, RerankingParts, RerankingInput, RerankingOutput]

NODES: Mapping[NodeName, object] = {
    "factors": name_factors,
    "write": write,
    "rerank": rerank,
    "tell": tell,
}


def build_reranking_graph(
    nodes: Mapping[NodeName, object] | None = None, checkpointer: Checkpointer = None
) -> RerankingGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session, "hint": hint}, context=parts)``, or
    make it a node behind a graph that leaves ``session`` and ``hint``. What the language model
    returns is what ``rank(session, hint, components, text)`` does; both rankings are made at once.

    A ranking that cannot be made raises ``ModelCallError``, and so does a spent budget anywhere.

    Args:
        nodes: Nodes of the user's own by the name of the one they replace.
        checkpointer: LangGraph's: where steps are kept, so that a call can be stopped before a node
            and gone on with, under a ``thread_id``; ``None`` for nowhere. With
            ``LANGGRAPH_STRICT_MSGPACK=true`` nothing but the graph's own types is read from it.

    Raises:
        ValueError: If there is no node of such a name.

    Source: RLRF4Rec: the tuned model writes, and re-ranks with what it wrote.
    """
    unknown = set(nodes or ()) - set(get_args(NodeName))
    if unknown:
        raise ValueError(f"no such node: {', '.join(sorted(unknown))}; known: {', '.join(NODES)}")
    graph = StateGraph(
        RerankingState,
        context_schema=RerankingParts,
        input_schema=RerankingInput,
        output_schema=RerankingOutput,
    )
    for name, node in {**NODES, **(nodes or {})}.items():
        graph.add_node(name, node)  # type: ignore[call-overload]
    graph.add_edge(START, "factors")
    graph.add_conditional_edges("factors", _after_factors, ["write", "rerank", "tell"])
    graph.add_conditional_edges("write", _rankers, ["rerank", "tell"])
    graph.add_edge("rerank", END)
    graph.add_edge("tell", END)
    return graph.compile(checkpointer=checkpointer)
