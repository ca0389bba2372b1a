"""The hint-learning graph: recommend, judge, critique, diagnose, propose, verify, admit, store.

Source: Re2LLM (arXiv 2403.16427), reflective exploration.
Differs: a proposal is checked before it is tried, and every refusal keeps its reason; a hint that
repairs its own error is only nominated (the model had seen the target), and is admitted on what it
does to other training sessions.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NotRequired, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from agentrec.components import Components
from agentrec.errors import InputError
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.admission_turns import AdmissionTurns
from agentrec.graphs.context import components_of
from agentrec.graphs.hint_checks import RefusalReason, refusal_of
from agentrec.graphs.hint_trials import try_on
from agentrec.graphs.recommending import rank
from agentrec.graphs.reflecting import critique, diagnose, propose_hints
from agentrec.hints import Hint, HintProvenance
from agentrec.rankings import Ranking
from agentrec.sessions import Session


@dataclass(frozen=True)
class Refusal:
    """A proposal that did not enter the knowledge base, and why."""

    text: str
    reason: RefusalReason


@dataclass(frozen=True)
class Trial:
    """What a proposed hint did.

    Attributes:
        place: Its place among the session's proposals.
        hint: The hint, with its evidence.
        refused: Why it may not be stored, ``None`` if it may.
    """

    place: int
    hint: Hint
    refused: RefusalReason | None


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
        proposals: Hints it wrote that may be tried.
        trials: What they did, in any order.
        admitted: Hints that may be stored.
        stored: Hints that were stored.
        refused: Proposals that were not.
    """

    ranking: Ranking
    right: bool
    critique: str
    diagnosis: str
    proposals: list[str]
    trials: Annotated[list[Trial], operator.add]
    admitted: list[Hint]
    stored: list[Hint]
    refused: Annotated[list[Refusal], operator.add]


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
    return {"right": state["session"].target in state["ranking"].item_ids}


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
    """Ask for hints and refuse those that break a rule."""
    components = components_of(runtime)
    session = state["session"]
    texts = await propose_hints(session, state["ranking"], state["diagnosis"], components)
    reasons = [(text, refusal_of(text, session, components.catalog)) for text in texts]
    return {
        "proposals": [text for text, reason in reasons if reason is None],
        "refused": [Refusal(text, reason) for text, reason in reasons if reason is not None],
    }


async def verify(state: TrialTask, runtime: Runtime[Components]) -> dict[str, object]:
    """Try one proposal: on its own session, in a fresh conversation, then on other sessions."""
    components = components_of(runtime)
    session, target = state["session"], state["session"].target or ""
    hint = Hint(text=state["text"])
    ranking = await rank(session, hint, components)
    repaired = target in ranking.item_ids
    evidence = await try_on(hint, state["probes"], components) if repaired else None
    refused: RefusalReason | None = None
    if not repaired:
        refused = "does not repair the error"
    elif evidence is not None and evidence.low <= 0:
        refused = "does not help on other sessions"
    provenance = HintProvenance(
        session_id=session.session_id,
        model=components.model.name,
        prompt_hash=components.prompts.content_hash,
        diagnosis=state["diagnosis"],
        ndcg_before=ndcg(state["ranking"].rank_of(target)),
        ndcg_after=ndcg(ranking.rank_of(target)),
    )
    known = Hint(text=hint.text, provenance=provenance, evidence=evidence)
    return {"trials": [Trial(state["place"], known, refused)]}


async def admit(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Let through the proposals that did well, in the order in which they were proposed."""
    trials = sorted(state.get("trials", ()), key=lambda trial: trial.place)
    return {
        "admitted": [trial.hint for trial in trials if trial.refused is None],
        "refused": [Refusal(t.hint.text, t.refused) for t in trials if t.refused is not None],
    }


async def store(state: HintLearningState, runtime: Runtime[Components]) -> dict[str, object]:
    """Store what says something new, when it is this session's turn."""
    components = components_of(runtime)
    stored: list[Hint] = []
    refused: list[Refusal] = []
    if state["admitted"]:
        texts = [hint.text for hint in state["admitted"]]
        vectors = await components.embeddings.aembed_documents(texts)
        turns = state.get("turns")
        if turns is not None:
            await turns.wait(state["session"].session_id)
        for hint, vector in zip(state["admitted"], vectors, strict=True):
            reason = await _refused_by_store(vector, components)
            if reason is None and await components.hint_store.add(hint, vector):
                stored.append(hint)
            else:
                refused.append(Refusal(hint.text, reason or "says what a stored hint says"))
    return {"stored": stored, "refused": refused}


async def _refused_by_store(vector: list[float], components: Components) -> RefusalReason | None:
    nearest = await components.hint_store.search(vector, 1)
    if nearest and nearest[0].similarity >= components.hint_similarity:
        return "says what a stored hint says"
    if len(await components.hint_store.all()) >= components.max_hints:
        return "knowledge base is full"
    return None


def _after_judging(state: HintLearningState) -> str:
    return END if state["right"] else "critique"


def _trials(state: HintLearningState) -> list[Send] | str:
    if not state["proposals"]:
        return "admit"
    return [
        Send(
            "verify",
            TrialTask(
                session=state["session"],
                probes=state.get("probes", ()),
                ranking=state["ranking"],
                diagnosis=state["diagnosis"],
                text=text,
                place=place,
            ),
        )
        for place, text in enumerate(state["proposals"])
    ]


HintLearningGraph = CompiledStateGraph[
    HintLearningState, Components, HintLearningInput, HintLearningState
]


def build_hint_learning_graph() -> HintLearningGraph:
    """Compile the graph; do it once and use it for every session.

    Call it with ``await graph.ainvoke({"session": session}, context=components)``; the state it
    returns says what was stored and refused.
    """
    graph = StateGraph(HintLearningState, context_schema=Components, input_schema=HintLearningInput)
    graph.add_node("recommend", recommend_unaided)
    graph.add_node("judge", judge)
    graph.add_node("critique", criticise)
    graph.add_node("diagnose", explain)
    graph.add_node("propose", propose)
    graph.add_node("verify", verify, input_schema=TrialTask)
    graph.add_node("admit", admit)
    graph.add_node("store", store)
    graph.add_edge(START, "recommend")
    graph.add_edge("recommend", "judge")
    graph.add_conditional_edges("judge", _after_judging, ["critique", END])
    graph.add_edge("critique", "diagnose")
    graph.add_edge("diagnose", "propose")
    graph.add_conditional_edges("propose", _trials, ["verify", "admit"])
    graph.add_edge("verify", "admit")
    graph.add_edge("admit", "store")
    graph.add_edge("store", END)
    return graph.compile()
