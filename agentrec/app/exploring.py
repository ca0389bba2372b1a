"""Looking for errors in many training sessions at once, and keeping the hints they teach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.graphs.admission_turns import AdmissionTurns
from agentrec.graphs.hint_learning import (
    HintLearningGraph,
    HintLearningInput,
    Refusal,
)
from agentrec.hints import Hint
from agentrec.runs.concurrency import map_concurrently
from agentrec.sessions import Session


@dataclass(frozen=True)
class Exploration:
    """What came of exploring.

    Attributes:
        explored: Sessions that were looked at.
        errors: Sessions the model got wrong without a hint.
        refusals: How many proposals were refused, by reason.
        hints: The knowledge base at the end, in the order of storing.
    """

    explored: int
    errors: int
    refusals: Mapping[str, int]
    hints: tuple[Hint, ...]


@dataclass(frozen=True)
class _Outcome:
    right: bool
    refused: tuple[Refusal, ...]


async def explore(
    sessions: Sequence[Session],
    components: Components,
    graph: HintLearningGraph,
    concurrency: int,
    on_done: Callable[[], None],
    probes: Sequence[Session],
    num_probes: int,
) -> Exploration:
    """Run hint learning over sessions until the knowledge base is full or they are used up.

    What is stored does not depend on which session finishes first.

    Args:
        sessions: Training sessions with targets and candidates.
        components: The parts.
        graph: The compiled hint-learning graph.
        concurrency: Most sessions in flight.
        on_done: Called after each session.
        probes: Training sessions to try hints on: each hint on those most like its own.
        num_probes: How many of them a hint is tried on.

    Raises:
        ModelCallError: If a call failed for good.
    """
    nearest = _nearest(probes, components, num_probes)
    turns = AdmissionTurns([session.session_id for session in sessions])
    full = False

    def until_full() -> Iterator[Session]:
        for session in sessions:
            if full:
                return
            yield session

    async def learn(session: Session) -> _Outcome:
        nonlocal full
        state = await graph.ainvoke(
            HintLearningInput(session=session, probes=nearest(session), turns=turns),
            context=components,
        )
        # A session that fails or is stopped never hands its turn on: what later sessions stored
        # in the moment before they end too would decide what it may store when the run goes on.
        turns.done(session.session_id)
        full = full or len(await components.hint_store.all()) >= components.max_hints
        return _Outcome(state["right"], tuple(state.get("refused", ())))

    outcomes = await map_concurrently(until_full(), learn, concurrency, on_done)
    refusals: Counter[str] = Counter(
        refusal.reason for outcome in outcomes for refusal in outcome.refused
    )
    return Exploration(
        explored=len(outcomes),
        errors=sum(not outcome.right for outcome in outcomes),
        refusals=dict(refusals),
        hints=tuple(await components.hint_store.all()),
    )


def _nearest(
    probes: Sequence[Session], components: Components, count: int
) -> Callable[[Session], list[Session]]:
    """Find, for a session, the probes that a policy would see as most like it."""
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
