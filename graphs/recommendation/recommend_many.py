"""Run a graph for very many sessions, a bounded number at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from agentrec.catalog import clean_text
from agentrec.components import Components
from agentrec.errors import FailureKind, InputError, ModelCallError
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.streaming.stream import Outcome, UnfinishedError, stream
from agentrec.timed_spans import METER, TimedSpan

_MAX_PROBLEM = 300

_DURATION = METER.create_histogram(
    "agentrec.session.duration",
    unit="s",
    description="How long sessions were worked on.",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(16)],
)

SessionFailureKind = FailureKind | str
"""A kind of ``ModelCallError``; or ``unfinished``: not done in time; ``bad_input``: the session or
the components cannot be used; ``error``: anything else that a graph raised."""


class InvokableGraph(Protocol):
    """The one method that is needed of a graph; LangGraph's compiled graphs have it."""

    async def ainvoke(
        self, given: Any, /, config: RunnableConfig | None = None, *, context: Any = None
    ) -> Any:
        """Run the graph once and return its last state."""
        ...


@dataclass(frozen=True, slots=True)
class SessionFailure:
    """Why a session has no result.

    Attributes:
        kind: A stable word for reports.
        problem: What is wrong, in one line.
        transient: Whether the same may succeed later without any change.
    """

    kind: SessionFailureKind
    problem: str
    transient: bool


@dataclass(frozen=True, slots=True)
class SessionResult:
    """The result of one session.

    Attributes:
        position: Position of the session in the stream, from 0.
        session: The session.
        seconds: Time it took, waits for limits included.
        state: The final state of the graph; ``None`` if it failed.
        failure: Why it failed; ``None`` if it did not.
        error: The exception it failed with, with its traceback.
    """

    position: int
    session: Session
    seconds: float
    state: Mapping[str, Any] | None
    failure: SessionFailure | None
    error: Exception | None = None

    @property
    def ranking(self) -> Ranking:
        """The graph's ranking.

        Raises:
            Exception: The error, if the session failed.
            KeyError: If the graph makes no ranking.
        """
        if self.error is not None:
            raise self.error
        return cast("Ranking", cast("Mapping[str, Any]", self.state)["ranking"])


async def recommend_many(
    sessions: Iterable[Session] | AsyncIterable[Session],
    components: Any,
    *,
    graph: InvokableGraph | None = None,
    concurrency: int = 64,
    ordered: bool = False,
    time_limit: float | None = None,
    deadline: float | None = None,
    config: RunnableConfig | None = None,
    inputs: Callable[[Session], Any] | None = None,
) -> AsyncGenerator[SessionResult, None]:
    """Run a graph for many sessions and yield the results.

    Memory is bounded however many sessions there are, and a slow consumer slows down the source. A
    failed session does not affect the others. The gateway's journal keeps every answer before it
    counts, so a repeated run pays for nothing twice. A consumer that may stop early closes it:
    ``async with contextlib.aclosing(recommend_many(...))``.

    A graph with a checkpointer has one thread per session, named by the session's id.

    Args:
        sessions: The sessions; the source may be endless.
        components: The graph's context: ``Components`` for the graphs of this package.
        graph: Any compiled graph; by default the recommendation graph.
        concurrency: Most sessions at a time, at least 1. The gateway limits the model's calls; a
            few more sessions than calls keep one ready for each call that ends.
        ordered: Whether results come in the order of the sessions instead of as they finish.
        time_limit: Seconds, above 0, after which a session fails.
        deadline: Seconds from now, at least 0, after which no session starts and running ones
            fail.
        config: LangChain's callbacks, tags and the like, for every session.
        inputs: Makes the graph's input from a session; by default ``{"session": session}``.

    Raises:
        InputError: If the default graph is called without ``Components``.
        ValueError: If a number is out of range.
        Exception: What ``sessions`` raises, after the results of the sessions before.
    """
    if graph is None and not isinstance(components, Components):
        raise InputError("the recommendation graph needs Components", field="components")
    used: InvokableGraph = build_recommendation_graph() if graph is None else graph
    has_threads = bool(getattr(used, "checkpointer", None))

    async def run(session: Session) -> Mapping[str, Any]:
        own = config
        if has_threads:
            thread: RunnableConfig = {"configurable": {"thread_id": session.session_id}}
            own = merge_configs(config, thread)
        with session_span():
            given = {"session": session} if inputs is None else inputs(session)
            state: Mapping[str, Any] = await used.ainvoke(given, own, context=components)
        return state

    outcomes = stream(
        sessions, run, concurrency, ordered=ordered, time_limit=time_limit, deadline=deadline
    )
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield _result(outcome)


def failure_of(error: Exception) -> SessionFailure:
    """Describe an exception by a stable kind and one line."""
    problem = clean_text(str(error), _MAX_PROBLEM)
    if isinstance(error, ModelCallError):
        return SessionFailure(error.kind, problem, error.transient)
    if isinstance(error, UnfinishedError):
        return SessionFailure("unfinished", problem, True)
    if isinstance(error, InputError):
        return SessionFailure("bad_input", problem, False)
    named = f"{type(error).__name__}: {problem}" if problem else type(error).__name__
    return SessionFailure("error", named, False)


def session_span() -> TimedSpan:
    """Return the OpenTelemetry span for work on one session; spans of model calls are its children.

    It reports the time and the kind of a failure, never the session's id or content.
    """
    return TimedSpan("agentrec.session", _DURATION, {}, _kind_of)


def _kind_of(error: BaseException) -> str:
    # Anything but an Exception comes from outside: a time limit, or a consumer that stopped.
    return failure_of(error).kind if isinstance(error, Exception) else "unfinished"


def _result(outcome: Outcome[Session, Mapping[str, Any]]) -> SessionResult:
    error = outcome.failure
    return SessionResult(
        position=outcome.position,
        session=outcome.task,
        seconds=outcome.seconds,
        state=None if error is not None else outcome.result,
        failure=None if error is None else failure_of(error),
        error=error,
    )
