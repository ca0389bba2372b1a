"""Looking for errors in many training sessions at once, and keeping the hints they teach."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.graphs.hint_learning.admission import HintRejection
from agentrec.graphs.hint_learning.admission_turns import AdmissionTurns, StoppingRules
from agentrec.graphs.hint_learning.graph import (
    HintLearningGraph,
    HintLearningInput,
)
from agentrec.hints import Hint
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently


@dataclass(frozen=True)
class Exploration:
    """What came of exploring.

    Attributes:
        explored: Sessions that were looked at.
        errors: Sessions the model got wrong without a hint.
        refusals: How many proposals were refused, by reason.
        hints: The admitted hints at the end, in the order of storing.
        questions: Questions asked of the model, as ``StoppingRules`` counts them.
        ended: Which rule said enough; ``None`` if the sessions were used up.
    """

    explored: int
    errors: int
    refusals: Mapping[str, int]
    hints: tuple[Hint, ...]
    questions: int
    ended: str | None


@dataclass(frozen=True)
class _Outcome:
    right: bool
    rejected: tuple[HintRejection, ...]


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
    """Run hint learning over sessions until a rule says enough or they are used up.

    What is stored does not depend on which session finishes first, and a run that was cut off
    comes to the same when it is begun again.

    Args:
        sessions: Training sessions with targets and candidates.
        components: The parts.
        graph: The compiled hint-learning graph.
        concurrency: Most sessions in flight.
        on_done: Called after each session.
        probes: Training sessions to try hints on.
        num_probes: How many of them a hint is tried on: those most like its own session, for it
            is on sessions like that that it will be used.
        rules: When to stop; a full knowledge base always ends it.

    Raises:
        ModelCallError: If a call failed for good.
    """
    rules = rules or StoppingRules()
    most = min(rules.max_admitted or components.max_hints, components.max_hints)
    turns = AdmissionTurns(
        [session.session_id for session in sessions], replace(rules, max_admitted=most)
    )
    tried_on = await asyncio.to_thread(most_alike, probes, components, num_probes)

    def until_ended() -> Iterator[Session]:
        for session in sessions:
            if turns.ended is not None:
                return
            yield session

    async def learn(session: Session) -> _Outcome:
        alike = await asyncio.to_thread(tried_on, session)
        state = await graph.ainvoke(
            HintLearningInput(session=session, probes=alike, turns=turns),
            context=components,
        )
        # A session that fails or is stopped never hands its turn on: what later sessions stored
        # in the moment before they end too would decide what it may store when the run goes on.
        turns.done(session.session_id, state.get("outcome"))
        return _Outcome(state["right"], tuple(state.get("rejected", ())))

    outcomes = await map_concurrently(until_ended(), learn, concurrency, on_done)
    refusals: Counter[str] = Counter(
        rejection.reason for outcome in outcomes for rejection in outcome.rejected
    )
    return Exploration(
        explored=len(outcomes),
        errors=sum(not outcome.right for outcome in outcomes),
        refusals=dict(refusals),
        hints=tuple(await components.hint_store.all()),
        questions=turns.questions,
        ended=turns.ended,
    )


def most_alike(
    probes: Sequence[Session], components: Components, count: int
) -> Callable[[Session], list[Session]]:
    """Find, for a session, the others that a policy would see as most like it, nearest first.

    Args:
        probes: The sessions to choose from; what is ordinary among them is no likeness.
        components: The parts; their encoder says what a session is like.
        count: How many to find.
    """
    states = np.stack([components.encoder.state(probe) for probe in probes])
    mean, spread = states.mean(axis=0), np.maximum(states.std(axis=0), 1e-6)
    known = _unit((states - mean) / spread)

    def nearest(session: Session) -> list[Session]:
        own = _unit((components.encoder.state(session)[None] - mean) / spread)[0]
        order = np.argsort(-(known @ own), kind="stable")
        others = [probes[place] for place in order[: count + 1].tolist()]
        return [probe for probe in others if probe.session_id != session.session_id][:count]

    return nearest


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norm, 1e-9), dtype=np.float32)
