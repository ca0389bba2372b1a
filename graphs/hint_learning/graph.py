"""The hint-learning graph: recommend, judge, critique, diagnose, propose, verify, admit, store.

Source: Re2LLM (arXiv 2403.16427), reflective exploration.
Differs: a proposal is checked before it is tried, and every refusal keeps its reason; a hint that
repairs its own error is only nominated (the model had seen the target), and is admitted on what it
does to other training sessions.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Protocol, TypedDict, get_args

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agentrec.components import Components
from agentrec.errors import InputError
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.context import components_of
from agentrec.graphs.hint_checks.rejection import RefusalReason, prepare, refusal_of
from agentrec.graphs.hint_learning.admission import (
    AdmissionReason,
    Refusal,
    admit_in_turn,
    known_already,
)
from agentrec.graphs.hint_learning.admission_turns import AdmissionTurns, TurnOutcome
from agentrec.graphs.hint_learning.reflection import critique, diagnose, propose_hints
from agentrec.graphs.hint_learning.trials import try_on
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint, HintProvenance
from agentrec.rankings import Ranking
from agentrec.sessions import Session

__all__ = ["HintLearningGraph", "HintLearningInput", "Refusal", "build_hint_learning_graph"]

NodeName = Literal[
    "recommend", "judge", "critique", "diagnose", "propose", "verify", "admit", "store"
]


class Node(Protocol):
    """A step: takes the graph's state and the parts, returns what changes in the state."""

    def __call__(self, state: Any, *, runtime: Runtime[Components]) -> Awaitable[dict[str, object]]:
        """Run the step."""
        ...


@dataclass(frozen=True)
class Trial:
    """What a proposed hint did.

    Attributes:
        place: Its place among the session's proposals.
        hint: The hint, with its evidence.
        refused: Why it is no nomination, ``None`` if it is one.
        known: Whether the knowledge base had it already, so that it was not tried on others.
        vector: Its text vector, ``[dimension]``; ``None`` where it was not embedded.
    """

    place: int
    hint: Hint
    refused: RefusalReason | AdmissionReason | None
    known: bool = False
    vector: tuple[float, ...] | None = None


class HintLearningInput(TypedDict):
    """What the graph is called with.

    Attributes:
        session: A training session, with its target and candidates.
        probes: Other training sessions to try hints on; left out, a hint is admitted on having
            repaired its own session alone.
        turns: The order of storing among concurrent runs; left out, a run stores at once.
    """

    session: Session
    probes: NotRequired[Sequence[Session]]
    turns: NotRequired[AdmissionTurns]


class HintLearningState(HintLearningInput, total=False):
    """What the nodes pass on.

    Attributes:
        ranking: The ranking without a hint.
        right: Whether the target was in it.
        critique: What the model said before it saw the target.
        diagnosis: What it said after.
        round: How often the model was asked for hints.
        proposals: Hints it wrote last that may be tried.
        trials: What all of them did, in any order.
        nominated: Hints that repaired the error, with their evidence.
        stored: Hints that were admitted to the knowledge base.
        refused: Proposals that were not.
        outcome: What the session came to, for ``AdmissionTurns.done``.
    """

    ranking: Ranking
    right: bool
    critique: str
    diagnosis: str
    round: int
    proposals: list[str]
    trials: Annotated[list[Trial], operator.add]
    nominated: list[Hint]
    stored: list[Hint]
    refused: Annotated[list[Refusal], operator.add]
    outcome: TurnOutcome


class TrialTask(TypedDict):
    """One branch of the fan-out: a proposal to try on its own session."""

    session: Session
    probes: Sequence[Session]
    ranking: Ranking
    diagnosis: str
    text: str
    place: int


async def recommend_unaided(
    state: HintLearningState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Rank without a hint."""
    if state["session"].target is None:
        # Before anything is paid for: there is no error to learn from.
        raise InputError(
            f"session {state['session'].session_id!r} has none; hints are learned from sessions"
            " whose next item is known",
            field="target",
        )
    return {"ranking": await rank(state["session"], None, components_of(runtime))}


async def judge(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Right if the target is in the ranking."""
    right = state["session"].target in state["ranking"].item_ids
    return {"right": right, "round": 0, "outcome": TurnOutcome(questions=1)}


async def criticise(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask what may be wrong; the target stays hidden."""
    text = await critique(state["session"], state["ranking"], components_of(runtime))
    return {"critique": text}


async def explain(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask why the target was missed."""
    text = await diagnose(
        state["session"], state["ranking"], state["critique"], components_of(runtime)
    )
    return {"diagnosis": text}


async def propose(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Ask for hints and refuse those that break a rule.

    Asked again, the model is told what it proposed before.
    """
    components = components_of(runtime)
    session, tried = state["session"], [trial.hint.text for trial in state.get("trials", ())]
    diagnosis = state["diagnosis"]
    if state["round"]:
        diagnosis += "\nWithout success it was proposed: " + " ".join(tried)
    texts = await propose_hints(session, state["ranking"], diagnosis, components)
    # The first check reads the whole catalogue; every later one finds that done.
    await asyncio.to_thread(prepare, components.catalog)
    reasons = [(text, refusal_of(text, session, components.catalog)) for text in texts]
    return {
        "round": state["round"] + 1,
        "proposals": [t for t, reason in reasons if reason is None and t not in tried],
        "refused": [Refusal(text, reason) for text, reason in reasons if reason is not None],
    }


async def verify(state: TrialTask, runtime: Runtime[Components]) -> dict[str, object]:
    """Try one proposal: on its own session, in a fresh conversation, then on other sessions.

    What the knowledge base knows already is not tried on others.
    """
    components = components_of(runtime)
    session, target = state["session"], state["session"].target or ""
    hint = Hint(text=state["text"], namespace=components.namespace)
    ranking = await rank(session, hint, components)
    repaired = target in ranking.item_ids
    refused: RefusalReason | AdmissionReason | None = None
    evidence, known, vector = None, False, None
    if not repaired:
        refused = "does not repair the error"
    else:
        (embedded,) = await components.embeddings.aembed_documents([hint.text])
        vector = tuple(embedded)
        known = await known_already(hint, vector, components)
        if not known:
            evidence = await try_on(hint, state["probes"], components)
    provenance = HintProvenance(
        session_id=session.session_id,
        model=components.gateway.name,
        prompt_hash=components.prompts.content_hash,
        run=components.run_name,
        diagnosis=state["diagnosis"],
        ndcg_before=ndcg(state["ranking"].rank_of(target)),
        ndcg_after=ndcg(ranking.rank_of(target)),
    )
    tried = hint.model_copy(update={"provenance": provenance, "evidence": evidence})
    return {"trials": [Trial(state["place"], tried, refused, known, vector)]}


async def admit(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Nominate the proposals that repaired the error, in the order in which they were made."""
    trials = sorted(state.get("trials", ()), key=lambda trial: trial.place)
    known = {refusal.text for refusal in state.get("refused", ())}
    return {
        "nominated": [trial.hint for trial in trials if trial.refused is None],
        "refused": [
            Refusal(t.hint.text, t.refused)
            for t in trials
            if t.refused is not None and t.hint.text not in known
        ],
        "outcome": TurnOutcome(questions=3 + state["round"] + len(trials), reflected=True),
    }


async def store(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Store what is proven and new, when it is this session's turn."""
    components = components_of(runtime)
    session_id, turns = state["session"].session_id, state.get("turns")
    if turns is not None:
        await turns.wait(session_id)
    ended = turns is not None and turns.ended is not None
    trials = state.get("trials", ())
    known = frozenset(trial.hint.hint_id for trial in trials if trial.known)
    vectors = {t.hint.text: t.vector for t in trials if t.vector is not None}
    admission = await admit_in_turn(
        state["nominated"], session_id, components, ended, known, vectors
    )
    outcome = TurnOutcome(
        questions=state["outcome"].questions,
        reflected=True,
        admitted=len(admission.stored) + admission.admitted_before,
    )
    return {"stored": admission.stored, "refused": admission.refused, "outcome": outcome}


def _after_judging(state: HintLearningState) -> str:
    return END if state["right"] else "critique"


def _trials(state: HintLearningState) -> list[Send] | str:
    if not state["proposals"]:
        return "admit"
    first = len(state.get("trials", ()))
    return [
        Send(
            "verify",
            TrialTask(
                session=state["session"],
                probes=state.get("probes", ()),
                ranking=state["ranking"],
                diagnosis=state["diagnosis"],
                text=text,
                place=first + number,
            ),
        )
        for number, text in enumerate(state["proposals"])
    ]


def _after_admitting(state: HintLearningState, runtime: Runtime[Components]) -> str:
    """Back for other proposals while none repaired the error and rounds are left."""
    rounds = components_of(runtime).reflection_rounds
    again = not state["nominated"] and state["proposals"] and state["round"] < rounds
    return "propose" if again else "store"


HintLearningGraph = CompiledStateGraph[
    HintLearningState, Components, HintLearningInput, HintLearningState
]

NODES: Mapping[NodeName, Node] = {
    "recommend": recommend_unaided,
    "judge": judge,
    "critique": criticise,
    "diagnose": explain,
    "propose": propose,
    "verify": verify,
    "admit": admit,
    "store": store,
}


def build_hint_learning_graph(nodes: Mapping[NodeName, Node] | None = None) -> HintLearningGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns says what was stored and refused. ``graph.astream(..., stream_mode="updates")`` tells
    of every node as it finishes.

    Args:
        nodes: Nodes of the user's own by the name of the one they replace. ``verify`` is called
            with a ``TrialTask``, all others with the state.

    Raises:
        ValueError: If there is no node of such a name.
    """
    unknown = set(nodes or ()) - set(get_args(NodeName))
    if unknown:
        raise ValueError(f"no such node: {', '.join(sorted(unknown))}; known: {', '.join(NODES)}")
    graph = StateGraph(HintLearningState, context_schema=Components, input_schema=HintLearningInput)
    for name, node in {**NODES, **(nodes or {})}.items():
        if name == "verify":
            graph.add_node(name, node, input_schema=TrialTask)
        else:
            graph.add_node(name, node)
    graph.add_edge(START, "recommend")
    graph.add_edge("recommend", "judge")
    graph.add_conditional_edges("judge", _after_judging, ["critique", END])
    graph.add_edge("critique", "diagnose")
    graph.add_edge("diagnose", "propose")
    graph.add_conditional_edges("propose", _trials, ["verify", "admit"])
    graph.add_edge("verify", "admit")
    graph.add_conditional_edges("admit", _after_admitting, ["propose", "store"])
    graph.add_edge("store", END)
    return graph.compile()
