"""The preference-collection graph: factors, several texts, rewards, one pair, the sink."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Mapping
from typing import Annotated, Literal, TypedDict, get_args

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agentrec.continuations import first_part
from agentrec.graphs.preferences.context import PreferenceParts, parts_of
from agentrec.graphs.preferences.pairing import PairRejection, PairRejectionReason, pairs_of
from agentrec.graphs.preferences.preference_sampling import (
    attempt_preference,
    find_factors,
    preference_prompt,
    turns_of,
)
from agentrec.llm.gateway.requests import Sampling, sample_seed
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.preferences import PairProvenance, PreferencePair, PreferenceText
from agentrec.sessions import Session

NodeName = Literal["factors", "write", "reward", "pair", "keep"]


class PreferenceInput(TypedDict, total=False):
    """What the graph is called with.

    Attributes:
        session: A session with target and candidates.
    """

    session: Session


class PreferenceState(PreferenceInput, total=False):
    """What the nodes pass on.

    Attributes:
        factors: What the texts are about.
        written: The texts, in the order in which they came.
        failures: Why texts did not come; the others are not lost for it.
        texts: The texts in order, with rewards.
        pairs: The pairs, best first; empty where there is none.
        refused: Why there is no pair; ``None`` where there is one.
    """

    factors: tuple[str, ...]
    written: Annotated[list[PreferenceText], operator.add]
    failures: Annotated[list[str], operator.add]
    texts: list[PreferenceText]
    pairs: tuple[PreferencePair, ...]
    refused: PairRejectionReason | None


class WritingTask(TypedDict):
    """One text to be written."""

    session: Session
    factors: tuple[str, ...]
    sample: int


async def name_factors(
    state: PreferenceState, runtime: Runtime[PreferenceParts]
) -> dict[str, object]:
    """Take the factors that are given, or ask for them; the journal answers all but once."""
    parts = parts_of(runtime)
    return {"factors": parts.factors or await find_factors(parts.components)}


async def write(task: WritingTask, runtime: Runtime[PreferenceParts]) -> dict[str, object]:
    """Have one text written; a failure is one text fewer."""
    parts, session, sample = parts_of(runtime), task["session"], task["sample"]
    seed = sample_seed(parts.seed, session.session_id, sample)
    attempt = await attempt_preference(
        session,
        task["factors"],
        parts.components,
        share=parts.shown_share,
        sampling=Sampling(parts.temperature, seed),
    )
    if attempt.failure is not None:
        return {"failures": [attempt.failure]}
    written = PreferenceText(
        session_id=session.session_id, sample=task["sample"], text=attempt.text
    )
    return {"written": [written]}


async def reward(state: PreferenceState, runtime: Runtime[PreferenceParts]) -> dict[str, object]:
    """Say what each text is worth; equal texts are worth the same and scored once."""
    texts = sorted(state.get("written", ()), key=lambda each: each.sample)
    distinct = list(dict.fromkeys(each.text for each in texts))
    if not distinct:
        return {"texts": []}
    [rewards] = await parts_of(runtime).reward_model.score([state["session"]], [distinct])
    worth = dict(zip(distinct, rewards, strict=True))
    unknown = sum(each is None for each in rewards)
    return {
        "texts": [each.model_copy(update={"reward": worth[each.text]}) for each in texts],
        "failures": ["what a text is worth could not be found out"] * unknown,
    }


async def pair(state: PreferenceState, runtime: Runtime[PreferenceParts]) -> dict[str, object]:
    """Pair the best with the worst, or say why not."""
    parts, session = parts_of(runtime), state["session"]
    components, factors = parts.components, state["factors"]
    prompt = preference_prompt(session, factors, parts.shown_share, components)
    provenance = PairProvenance(
        model=components.gateway.name,
        reward_model=parts.reward_model.parameter_hash,
        prompt_hash=components.prompts.content_hash,
        temperature=parts.temperature,
        samples=parts.samples,
        seed=parts.seed,
        run=components.run_name,
    )
    # Looking for titles in long texts takes a while.
    found = await asyncio.to_thread(
        pairs_of,
        session,
        turns_of(prompt),
        state["texts"],
        parts.rules,
        factors=factors,
        catalog=components.catalog,
        provenance=provenance,
        shown=first_part(session, parts.shown_share).items[-HISTORY_LENGTH:],
    )
    if isinstance(found, PairRejection):
        return {"pairs": (), "refused": found.reason}
    return {"pairs": found, "refused": None}


async def keep(state: PreferenceState, runtime: Runtime[PreferenceParts]) -> dict[str, object]:
    """Hand the pairs on to the sink, if there is one."""
    sink = parts_of(runtime).sink
    if sink is not None and state["pairs"]:
        await sink.append(state["pairs"])
    return {}


def _tasks(state: PreferenceState, runtime: Runtime[PreferenceParts]) -> list[Send]:
    session, factors = state["session"], state["factors"]
    return [
        Send("write", WritingTask(session=session, factors=factors, sample=sample))
        for sample in range(parts_of(runtime).samples)
    ]


PreferenceGraph = CompiledStateGraph[
    PreferenceState, PreferenceParts, PreferenceInput, PreferenceState
]

NODES: Mapping[NodeName, object] = {
    "factors": name_factors,
    "write": write,
    "reward": reward,
    "pair": pair,
    "keep": keep,
}


def build_preference_graph(nodes: Mapping[NodeName, object] | None = None) -> PreferenceGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=parts)``; the state it returns
    holds ``texts`` with their rewards and ``pairs``, or the reason why there are none.

    Args:
        nodes: Nodes of the user's own by the name of the one they replace. ``write`` is called
            with a ``WritingTask``, all others with the state.

    Raises:
        ValueError: If there is no node of such a name.

    Source: RLRF4Rec: sample, reward, pair.
    """
    unknown = set(nodes or ()) - set(get_args(NodeName))
    if unknown:
        raise ValueError(f"no such node: {', '.join(sorted(unknown))}; known: {', '.join(NODES)}")
    graph = StateGraph(
        PreferenceState, context_schema=PreferenceParts, input_schema=PreferenceInput
    )
    for name, node in {**NODES, **(nodes or {})}.items():
        if name == "write":
            graph.add_node(name, node, input_schema=WritingTask)  # type: ignore[call-overload]
        else:
            graph.add_node(name, node)  # type: ignore[call-overload]
    graph.add_edge(START, "factors")
    graph.add_conditional_edges("factors", _tasks, ["write"])
    graph.add_edge("write", "reward")
    graph.add_edge("reward", "pair")
    graph.add_edge("pair", "keep")
    graph.add_edge("keep", END)
    return graph.compile()
