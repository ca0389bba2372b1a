"""The re-ranking graph: factors, one preference text, then rankings that use it.

Source: RLRF4Rec: the tuned model writes a text, and re-ranks with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer

from agentrec.components import Components
from agentrec.contracts import PreferenceRanker
from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.context import GraphContext, context_of
from agentrec.graphs.preferences.preference_sampling import (
    check_share,
    find_factors,
    sample_preference,
)
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.rankings import Ranking
from agentrec.sessions import Session

NodeName = Literal["factors", "write", "rank_by_model", "rank_by_recommender"]


@dataclass(frozen=True)
class RerankingContext(GraphContext):
    """The context of the graph.

    Attributes:
        components: The components of every graph; its language model ranks.
        writer: The language model that writes the text, such as a tuned one: a LangChain chat
            model or a gateway; ``None`` for the one that ranks.
        factors: What the text is about; empty to ask the writer once a catalogue.
        shown_share: Share of a history that the text is written from, above 0 to 1: its first
            part. All of it is best for ranking the next item, also for a writer that was tuned on
            texts about first parts.
        by_model: Whether the language model ranks.
        recommender: Ranks with the text as well; ``None`` for none.

    Raises:
        ValueError: If neither ranks, or the share is out of range.
    """

    writer: BaseChatModel | ModelGateway | None = None
    factors: tuple[str, ...] = ()
    shown_share: float = 1.0
    by_model: bool = True
    recommender: PreferenceRanker | None = None

    def __post_init__(self) -> None:
        if not self.by_model and self.recommender is None:
            raise ValueError("the language model or a recommender must rank")
        check_share(self.shown_share)
        if self.writer is not None:
            # Once, so that all sessions share the gateway of a plain chat model.
            gateway = replace(self.components, model=self.writer).gateway
            object.__setattr__(self, "writer", gateway)

    @property
    def writing(self) -> Components:
        """The components with the model that writes."""
        if self.writer is None:
            return self.components
        return replace(self.components, model=self.writer)


class RerankingInput(TypedDict, total=False):
    """The input of the graph.

    Attributes:
        session: A session with candidates; its target is ignored.
        hint: Advice to the language model that ranks, as the hint-choosing graph leaves it;
            ``None`` or missing for none.
    """

    session: Session
    hint: Hint | None


class RerankingOutput(TypedDict, total=False):
    """The output of the graph; as a node, what it adds to the state of the graph around it.

    Attributes:
        preference: The text; ``None`` if it could not be written, and all rank without one.
        preference_failure: Why there is no text; ``None`` if there is one.
        model_ranking: The language model's ranking with hint and text, if it ranks.
        recommender_ranking: All candidates as the recommender ranks them with the text, if it does.
    """

    preference: str | None
    preference_failure: str | None
    model_ranking: Ranking
    recommender_ranking: Ranking


class RerankingState(RerankingInput, RerankingOutput, total=False):
    """The state between the nodes.

    Attributes:
        factors: What the text is about; empty if that could not be asked.
    """

    factors: tuple[str, ...]


async def name_factors(
    state: RerankingState, runtime: Runtime[RerankingContext]
) -> dict[str, object]:
    """Take the given factors, or ask the writer; the journal answers every later session."""
    context = context_of(runtime, RerankingContext)
    if context.factors:
        return {"factors": context.factors}
    try:
        return {"factors": await find_factors(context.writing)}
    except ModelCallError as error:
        if error.kind == "budget_spent":
            raise
        return {"factors": (), "preference": None, "preference_failure": str(error)}


async def write(state: RerankingState, runtime: Runtime[RerankingContext]) -> dict[str, object]:
    """Have the text written; if that fails, the rankings are made without it."""
    context = context_of(runtime, RerankingContext)
    sampled = await sample_preference(
        state["session"], state["factors"], context.writing, share=context.shown_share
    )
    text = sampled.text if sampled.failure is None else None
    return {"preference": text, "preference_failure": sampled.failure}


async def rank_by_model(
    state: RerankingState, runtime: Runtime[RerankingContext]
) -> dict[str, object]:
    """Let the language model rank with the hint and the text."""
    components = context_of(runtime, RerankingContext).components
    hint, text = state.get("hint"), state.get("preference")
    return {"model_ranking": await rank(state["session"], hint, components, text)}


async def rank_by_recommender(
    state: RerankingState, runtime: Runtime[RerankingContext]
) -> dict[str, object]:
    """Let the recommender rank with the text."""
    session, recommender = state["session"], context_of(runtime, RerankingContext).recommender
    if recommender is None:
        raise InputError("the context has no recommender", field="recommender")
    item_ids = await recommender.rank(session, state.get("preference"))
    return {"recommender_ranking": Ranking(session_id=session.session_id, item_ids=item_ids)}


def _after_factors(state: RerankingState, runtime: Runtime[RerankingContext]) -> Sequence[NodeName]:
    return ["write"] if state["factors"] else _rankers(state, runtime)


def _rankers(state: RerankingState, runtime: Runtime[RerankingContext]) -> Sequence[NodeName]:
    context = context_of(runtime, RerankingContext)
    wanted: list[NodeName] = ["rank_by_model"] if context.by_model else []
    return wanted if context.recommender is None else [*wanted, "rank_by_recommender"]


RerankingGraph = CompiledStateGraph[
    RerankingState, RerankingContext, RerankingInput, RerankingOutput
]

NODES: Mapping[NodeName, object] = {
    "factors": name_factors,
    "write": write,
    "rank_by_model": rank_by_model,
    "rank_by_recommender": rank_by_recommender,
}


def build_reranking_graph(
    nodes: Mapping[NodeName, object] | None = None, checkpointer: Checkpointer = None
) -> RerankingGraph:
    """Compile the graph. Compile it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session, "hint": hint},
    context=RerankingContext(...))``, or use it as a node behind a graph that leaves ``session`` and
    ``hint``. Both rankings are made at once.

    A ranking that cannot be made raises ``ModelCallError``, and so does a spent budget anywhere.

    Args:
        nodes: Your own nodes, by the name of the node they replace.
        checkpointer: A LangGraph checkpointer, see ``build_recommendation_graph``.

    Raises:
        ValueError: If there is no node of such a name.
    """
    unknown = set(nodes or ()) - set(get_args(NodeName))
    if unknown:
        raise ValueError(f"no such node: {', '.join(sorted(unknown))}; known: {', '.join(NODES)}")
    graph = StateGraph(
        RerankingState,
        context_schema=RerankingContext,
        input_schema=RerankingInput,
        output_schema=RerankingOutput,
    )
    for name, node in {**NODES, **(nodes or {})}.items():
        graph.add_node(name, node)  # type: ignore[call-overload]
    rankers = ["rank_by_model", "rank_by_recommender"]
    graph.add_edge(START, "factors")
    graph.add_conditional_edges("factors", _after_factors, ["write", *rankers])
    graph.add_conditional_edges("write", _rankers, rankers)
    graph.add_edge("rank_by_model", END)
    graph.add_edge("rank_by_recommender", END)
    return graph.compile(checkpointer=checkpointer)
