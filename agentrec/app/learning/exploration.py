"""Finding errors in many training sessions at once, and keeping the hints learned from them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.graphs.hint_learning.admission import AdmissionTurns, HintRejection, StoppingRules
from agentrec.graphs.hint_learning.graph import (
    HintLearningGraph,
    HintLearningInput,
)
from agentrec.hints import Hint
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently


@dataclass(frozen=True)
class Exploration:
    """The result of exploring.

    Attributes:
        explored: Number of explored sessions.
        errors: How many of them the model got wrong without a hint.
        refusals: How many proposals were refused, by reason.
        hints: The admitted hints at the end, in the order of storing.
        questions: Questions asked of the model, as ``StoppingRules`` counts them.
        ended: Which rule stopped it; ``None`` if the sessions were used up.
    """

    explored: int
    errors: int
    refusals: Mapping[str, int]
    hints: tuple[Hint, ...]
    questions: int
    ended: str | None


def spread(sessions: Sequence[Session], limit: int) -> list[Session]:
    """At most ``limit`` sessions, evenly spread over time."""
    if len(sessions) <= limit:
        return list(sessions)
    indices = np.linspace(0, len(sessions) - 1, limit).round().astype(int)
    return [sessions[index] for index in dict.fromkeys(indices.tolist())]


async def explore(
    sessions: Sequence[Session],
    components: Components,
    graph: HintLearningGraph,
    concurrency: int,
    on_done: Callable[[], None],
    probes: Sequence[Session],
    num_probes: int,
    rules: StoppingRules | None = None,
) -> Exploration:
    """Run hint learning over sessions until a rule stops it or they are used up.

    What is stored does not depend on which session finishes first, and a run that was interrupted
    stores the same when it starts again. A hint is tried on the ``num_probes`` training sessions
    among ``probes`` that are most like its own, for it will be used on such sessions. A full
    knowledge base always ends the exploration. ``on_done`` is called after each session.

    Raises:
        ModelCallError: If a call failed for good.
    """
    rules = rules or StoppingRules()
    most = min(rules.max_admitted or components.max_hints, components.max_hints)
    turns = AdmissionTurns(
        [session.session_id for session in sessions], replace(rules, max_admitted=most)
    )
    nearest = await asyncio.to_thread(most_alike, probes, components, num_probes)

    def until_ended() -> Iterator[Session]:
        for session in sessions:
            if turns.ended is not None:
                return
            yield session

    async def learn(session: Session) -> tuple[bool, Sequence[HintRejection]]:
        tried_on = await asyncio.to_thread(nearest, session)
        state = await graph.ainvoke(
            HintLearningInput(session=session, probes=tried_on, turns=turns),
            context=components,
        )
        # A session that fails or is stopped never passes its turn on: what later sessions stored
        # before they end too would decide what it may store when the run resumes.
        turns.done(session.session_id, state.get("outcome"))
        return state["right"], tuple(state.get("rejected", ()))

    outcomes = await map_concurrently(until_ended(), learn, concurrency, on_done)
    refusals = Counter[str](rejection.reason for _, rejected in outcomes for rejection in rejected)
    return Exploration(
        explored=len(outcomes),
        errors=sum(not right for right, _ in outcomes),
        refusals=dict(refusals),
        hints=tuple(await components.hint_store.all()),
        questions=turns.questions,
        ended=turns.ended,
    )


def most_alike(
    probes: Sequence[Session], components: Components, count: int
) -> Callable[[Session], list[Session]]:
    """Return a function that finds the ``count`` probes most like a session, nearest first.

    Sessions are compared by their encoded states, standardised over the probes.
    """
    states = np.stack([components.encoder.state(probe) for probe in probes])
    mean, deviation = states.mean(axis=0), np.maximum(states.std(axis=0), 1e-6)
    known = _unit((states - mean) / deviation)

    def nearest(session: Session) -> list[Session]:
        own = _unit((components.encoder.state(session)[None] - mean) / deviation)[0]
        order = np.argsort(-(known @ own), kind="stable")
        others = [probes[index] for index in order[: count + 1].tolist()]
        return [probe for probe in others if probe.session_id != session.session_id][:count]

    return nearest


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norm, 1e-9), dtype=np.float32)
