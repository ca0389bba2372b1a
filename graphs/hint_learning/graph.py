"""The hint-learning graph: from an error of the model to a hint in the knowledge base.

recommend -> judge -> critique -> diagnose -> propose -> verify (in parallel) -> nominate -> admit

Source: Re2LLM (arXiv 2403.16427), reflective exploration.
Differs: proposals are checked before they are tried, and every rejection keeps its reason. A hint
that repairs its own error is only nominated, because the model had seen the target; it is admitted
on what it does to other training sessions.
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
from agentrec.graphs.hint_checks.rejection import HintRejectionReason, prepare, rejection_of
from agentrec.graphs.hint_learning.admission import (
    AdmissionTurns,
    HintRejection,
    TurnOutcome,
    admit_hints,
    is_known,
)
from agentrec.graphs.hint_learning.reflection import critique, diagnose, propose_hints
from agentrec.graphs.hint_learning.trials import try_on
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint, HintProvenance
from agentrec.rankings import Ranking
from agentrec.sessions import Session

NodeName = Literal[
    "recommend", "judge", "critique", "diagnose", "propose", "verify", "nominate", "admit"
]


class Node(Protocol):
    """A node: takes the graph's state and the components, returns what changes in the state."""

    def __call__(self, state: Any, *, runtime: Runtime[Components]) -> Awaitable[dict[str, object]]:
        """Run the node."""
        ...


@dataclass(frozen=True)
class Trial:
    """The result of trying a proposed hint.

    Attributes:
        position: Its position among the session's proposals.
        hint: The hint, with its evidence.
        rejection: Why it is not nominated; ``None`` if it is.
        known: Whether the knowledge base has it already, so that it was not tried on others.
        vector: Its text vector, ``[dimension]``; ``None`` where it was not embedded.
    """

    position: int
    hint: Hint
    rejection: HintRejectionReason | None
    known: bool = False
    vector: tuple[float, ...] | None = None


class HintLearningInput(TypedDict):
    """The input of the graph.

    Attributes:
        session: A training session, with its target and candidates.
        probes: Other training sessions to try hints on. Without them, a hint is admitted for
            repairing its own session.
        turns: The order in which concurrent runs admit hints; without it, a run admits at once.
    """

    session: Session
    probes: NotRequired[Sequence[Session]]
    turns: NotRequired[AdmissionTurns]


class HintLearningState(HintLearningInput, total=False):
    """The state between the nodes.

    Attributes:
        ranking: The ranking without a hint.
        right: Whether it contains the target.
        critique: The model's critique, written without the target.
        diagnosis: The model's diagnosis, written with the target.
        round: How many times the model was asked for hints.
        proposals: Hints of the last round that may be tried.
        trials: The results of all trials, in any order.
        nominated: Hints that repaired the error, with their evidence.
        stored: Hints that were admitted to the knowledge base.
        rejected: Proposals that were not.
        outcome: Questions, reflections and admissions, for ``AdmissionTurns.done``.
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
    rejected: Annotated[list[HintRejection], operator.add]
    outcome: TurnOutcome


class TrialTask(TypedDict):
    """The input of one parallel ``verify``: a proposal to try on its own session."""

    session: Session
    probes: Sequence[Session]
    ranking: Ranking
    diagnosis: str
    text: str
    position: int


async def recommend_unaided(
    state: HintLearningState, runtime: Runtime[Components]
) -> dict[str, object]:
    """Rank without a hint."""
    if state["session"].target is None:
        # Checked before anything is paid for: without a target there is no error to learn from.
        raise InputError(
            f"session {state['session'].session_id!r} has none; hints are learned from sessions"
            " whose next item is known",
            field="target",
        )
    return {"ranking": await rank(state["session"], None, components_of(runtime))}


async def judge(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Check whether the ranking contains the target."""
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
    """Ask for hints and reject those that break a rule.

    From the second round on, the prompt lists the hints that failed.
    """
    components = components_of(runtime)
    session, tried = state["session"], [trial.hint.text for trial in state.get("trials", ())]
    diagnosis = state["diagnosis"]
    if state["round"]:
        diagnosis += "\nHints already tried without success: " + " ".join(tried)
    texts = await propose_hints(session, state["ranking"], diagnosis, components)
    # The first check reads the whole catalogue.
    await asyncio.to_thread(prepare, components.catalog)
    english = components.english_hints_only
    reasons = [
        (text, rejection_of(text, session, components.catalog, english_only=english))
        for text in texts
    ]
    return {
        "round": state["round"] + 1,
        "proposals": [text for text, reason in reasons if reason is None and text not in tried],
        "rejected": [HintRejection(text, reason) for text, reason in reasons if reason is not None],
    }


async def verify(state: TrialTask, runtime: Runtime[Components]) -> dict[str, object]:
    """Try one proposal on its own session, in a fresh conversation, then on other sessions.

    A hint that the knowledge base has already is not tried on others.
    """
    components = components_of(runtime)
    session, target = state["session"], state["session"].target or ""
    hint = Hint(text=state["text"], namespace=components.namespace)
    ranking = await rank(session, hint, components)
    rejection: HintRejectionReason | None = None
    evidence, known, vector = None, False, None
    if target not in ranking.item_ids:
        rejection = "does not repair the error"
    else:
        (embedded,) = await components.embeddings.aembed_documents([hint.text])
        vector = tuple(embedded)
        known = await is_known(hint, vector, components)
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
    return {"trials": [Trial(state["position"], tried, rejection, known, vector)]}


async def nominate(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Nominate the proposals that repaired the error, in the order in which they were made."""
    trials = sorted(state.get("trials", ()), key=lambda trial: trial.position)
    reported = {rejection.text for rejection in state.get("rejected", ())}
    return {
        "nominated": [trial.hint for trial in trials if trial.rejection is None],
        "rejected": [
            HintRejection(trial.hint.text, trial.rejection)
            for trial in trials
            if trial.rejection is not None and trial.hint.text not in reported
        ],
        "outcome": TurnOutcome(questions=3 + state["round"] + len(trials), reflected=True),
    }


async def admit(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Admit the nominated hints that are proven and new, when it is this session's turn."""
    components = components_of(runtime)
    session_id, turns = state["session"].session_id, state.get("turns")
    if turns is not None:
        await turns.wait(session_id)
    ended = turns is not None and turns.ended is not None
    trials = state.get("trials", ())
    known = frozenset(trial.hint.hint_id for trial in trials if trial.known)
    vectors = {trial.hint.text: trial.vector for trial in trials if trial.vector is not None}
    admission = await admit_hints(state["nominated"], session_id, components, ended, known, vectors)
    outcome = TurnOutcome(
        questions=state["outcome"].questions,
        reflected=True,
        admitted=len(admission.stored) + admission.admitted_before,
    )
    return {"stored": admission.stored, "rejected": admission.rejected, "outcome": outcome}


def _after_judging(state: HintLearningState) -> str:
    return END if state["right"] else "critique"


def _trials(state: HintLearningState) -> list[Send] | str:
    if not state["proposals"]:
        return "nominate"
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
                position=first + number,
            ),
        )
        for number, text in enumerate(state["proposals"])
    ]


def _after_nominating(state: HintLearningState, runtime: Runtime[Components]) -> str:
    """Ask for other proposals while none repaired the error and rounds are left."""
    rounds = components_of(runtime).reflection_rounds
    again = not state["nominated"] and state["proposals"] and state["round"] < rounds
    return "propose" if again else "admit"


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
    "nominate": nominate,
    "admit": admit,
}


def build_hint_learning_graph(nodes: Mapping[NodeName, Node] | None = None) -> HintLearningGraph:
    """Compile the graph. Compile it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns lists what was ``stored`` and ``rejected``. ``graph.astream(...,
    stream_mode="updates")`` reports each node as it finishes.

    Args:
        nodes: Your own nodes, by the name of the node they replace. ``verify`` receives a
            ``TrialTask``, the others the state.

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
    graph.add_conditional_edges("propose", _trials, ["verify", "nominate"])
    graph.add_edge("verify", "nominate")
    graph.add_conditional_edges("nominate", _after_nominating, ["propose", "admit"])
    graph.add_edge("admit", END)
    return graph.compile()
