"""The preference-collection graph: factors, several texts, rewards, pairs, the sink.

Source: RLRF4Rec: sample N texts a session at a temperature, reward them, pair best and worst.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypedDict, get_args

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agentrec.continuations import first_part
from agentrec.contracts import PreferenceSink, RewardModel
from agentrec.graphs.context import GraphContext, context_of
from agentrec.graphs.preferences.pairing import (
    PairingRules,
    PairRejection,
    PairRejectionReason,
    pairs_of,
)
from agentrec.graphs.preferences.preference_sampling import (
    check_share,
    find_factors,
    preference_prompt,
    sample_preference,
    turns_of,
)
from agentrec.llm.gateway.requests import Sampling, sample_seed
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.preferences import PairProvenance, PreferencePair, PreferenceText
from agentrec.sessions import Session

NodeName = Literal["factors", "write", "reward", "pair", "keep"]


@dataclass(frozen=True)
class PreferenceContext(GraphContext):
    """The context of the graph.

    Attributes:
        components: The components of every graph.
        reward_model: Scores the texts.
        factors: What preferences are about; empty to ask the language model once.
        sink: Receives the pairs; ``None`` leaves them in the graph's state.
        samples: Texts per session, at least 2. More: best and worst differ more, for as many calls.
        temperature: Sampling temperature, above 0. Larger: texts differ more.
        shown_share: Share of a history that texts are written from, above 0 to 1: its first part,
            so that what came right before the target cannot be in a text.
        rules: When two texts make a pair.
        seed: Seed of the sampling.

    Raises:
        ValueError: If a number is out of range.
    """

    reward_model: RewardModel
    factors: tuple[str, ...] = ()
    sink: PreferenceSink | None = None
    samples: int = 6
    temperature: float = 0.8
    shown_share: float = 0.7
    rules: PairingRules = field(default_factory=PairingRules)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, not {self.samples}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        check_share(self.shown_share)


class PreferenceInput(TypedDict, total=False):
    """The input of the graph.

    Attributes:
        session: A session with target and candidates.
    """

    session: Session


class PreferenceState(PreferenceInput, total=False):
    """The state between the nodes.

    Attributes:
        factors: What the texts are about.
        written: The texts, in any order.
        failures: Why texts or rewards are missing.
        texts: The texts in order, with rewards.
        pairs: The pairs, best first; empty where there are none.
        rejection: Why there is no pair; ``None`` where there is one.
    """

    factors: tuple[str, ...]
    written: Annotated[list[PreferenceText], operator.add]
    failures: Annotated[list[str], operator.add]
    texts: list[PreferenceText]
    pairs: tuple[PreferencePair, ...]
    rejection: PairRejectionReason | None


class WritingTask(TypedDict):
    """The input of one parallel ``write``: one text to write."""

    session: Session
    factors: tuple[str, ...]
    sample: int


async def name_factors(
    state: PreferenceState, runtime: Runtime[PreferenceContext]
) -> dict[str, object]:
    """Take the given factors, or ask for them; the journal answers every later session."""
    context = context_of(runtime, PreferenceContext)
    return {"factors": context.factors or await find_factors(context.components)}


async def write(task: WritingTask, runtime: Runtime[PreferenceContext]) -> dict[str, object]:
    """Have one text written; a failure means one text fewer."""
    context, session = context_of(runtime, PreferenceContext), task["session"]
    seed = sample_seed(context.seed, session.session_id, task["sample"])
    sampled = await sample_preference(
        session,
        task["factors"],
        context.components,
        share=context.shown_share,
        sampling=Sampling(context.temperature, seed),
    )
    if sampled.failure is not None:
        return {"failures": [sampled.failure]}
    written = PreferenceText(
        session_id=session.session_id, sample=task["sample"], text=sampled.text
    )
    return {"written": [written]}


async def reward(state: PreferenceState, runtime: Runtime[PreferenceContext]) -> dict[str, object]:
    """Score the texts; equal texts are scored once."""
    texts = sorted(state.get("written", ()), key=lambda each: each.sample)
    distinct = list(dict.fromkeys(each.text for each in texts))
    if not distinct:
        return {"texts": []}
    reward_model = context_of(runtime, PreferenceContext).reward_model
    [rewards] = await reward_model.score([state["session"]], [distinct])
    by_text = dict(zip(distinct, rewards, strict=True))
    unknown = sum(each is None for each in rewards)
    return {
        "texts": [each.model_copy(update={"reward": by_text[each.text]}) for each in texts],
        "failures": ["the reward of a text could not be measured"] * unknown,
    }


async def pair(state: PreferenceState, runtime: Runtime[PreferenceContext]) -> dict[str, object]:
    """Pair the best text with the worst, or record why not."""
    context, session = context_of(runtime, PreferenceContext), state["session"]
    components, factors = context.components, state["factors"]
    prompt = preference_prompt(session, factors, context.shown_share, components)
    provenance = PairProvenance(
        model=components.gateway.name,
        reward_model=context.reward_model.parameter_hash,
        prompt_hash=components.prompts.content_hash,
        temperature=context.temperature,
        samples=context.samples,
        seed=context.seed,
        run=components.run_name,
    )
    # The search for titles in long texts takes a while.
    found = await asyncio.to_thread(
        pairs_of,
        session,
        turns_of(prompt),
        state["texts"],
        context.rules,
        factors=factors,
        catalog=components.catalog,
        provenance=provenance,
        shown=first_part(session, context.shown_share).items[-HISTORY_LENGTH:],
    )
    if isinstance(found, PairRejection):
        return {"pairs": (), "rejection": found.reason}
    return {"pairs": found, "rejection": None}


async def keep(state: PreferenceState, runtime: Runtime[PreferenceContext]) -> dict[str, object]:
    """Append the pairs to the sink, if there is one."""
    sink = context_of(runtime, PreferenceContext).sink
    if sink is not None and state["pairs"]:
        await sink.append(state["pairs"])
    return {}


def _tasks(state: PreferenceState, runtime: Runtime[PreferenceContext]) -> list[Send]:
    session, factors = state["session"], state["factors"]
    return [
        Send("write", WritingTask(session=session, factors=factors, sample=sample))
        for sample in range(context_of(runtime, PreferenceContext).samples)
    ]


PreferenceGraph = CompiledStateGraph[
    PreferenceState, PreferenceContext, PreferenceInput, PreferenceState
]

NODES: Mapping[NodeName, object] = {
    "factors": name_factors,
    "write": write,
    "reward": reward,
    "pair": pair,
    "keep": keep,
}


def build_preference_graph(nodes: Mapping[NodeName, object] | None = None) -> PreferenceGraph:
    """Compile the graph. Compile it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=PreferenceContext(...))``; the
    state it returns holds ``texts`` with their rewards and ``pairs``, or a ``rejection``.

    Args:
        nodes: Your own nodes, by the name of the node they replace. ``write`` receives a
            ``WritingTask``, the others the state.

    Raises:
        ValueError: If there is no node of such a name.
    """
    unknown = set(nodes or ()) - set(get_args(NodeName))
    if unknown:
        raise ValueError(f"no such node: {', '.join(sorted(unknown))}; known: {', '.join(NODES)}")
    graph = StateGraph(
        PreferenceState, context_schema=PreferenceContext, input_schema=PreferenceInput
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
