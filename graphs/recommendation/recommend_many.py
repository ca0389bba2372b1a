"""Recommending for very many sessions: any compiled graph, so many sessions at a time."""

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
from agentrec.streaming.streaming import Outcome, UnfinishedError, stream
from agentrec.timed_spans import METER, TimedSpan


class InvokableGraph(Protocol):
    """What is needed of a graph: LangGraph's compiled graphs have it."""

    async def ainvoke(
        self, given: Any, /, config: RunnableConfig | None = None, *, context: Any = None
    ) -> Any:
        """Run the graph once, and return its last state."""
        ...


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What came of one session.

    Attributes:
        place: Number of the session in the stream, from 0.
        session: The session.
        seconds: How long it was worked on, waits for limits included.
        state: What the graph returned; ``None`` if it failed.
        failure: Why; ``None`` if it did not.
        error: What was raised then, for who wants the traceback.
    """

    place: int
    session: Session
    seconds: float
    state: Mapping[str, Any] | None
    failure: SessionFailure | None
    error: Exception | None = None

    @property
    def ranking(self) -> Ranking:
        """The ranking that the graph made.

        Raises:
            Exception: What was raised, if the session failed.
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
    """Have a graph work on many sessions, and say of each what came of it.

    Memory is bounded however many sessions there are, and none is taken up while nobody takes
    results. A session that fails costs no other one. Answers of the language model are kept by the
    gateway's journal before they count, so that doing it again pays for nothing twice. Whoever may
    stop before the end closes it: ``async with contextlib.aclosing(recommend_many(...))``.

    A graph with a checkpointer has a thread of its own for each session, named by its id.

    Args:
        sessions: The sessions, also without end; taken up one after the other.
        components: The graph's context, ``Components`` for the graphs that come along.
        graph: Any compiled graph; by default the recommendation graph.
        concurrency: Most sessions at a time, at least 1. How many calls of the language model are
            made at a time, and how fast, is for the gateway's limiter; fewer sessions than calls
            leave it idle, and some more have one ready for each call that ends.
        ordered: Whether results come in the order of the sessions, and not as they finish.
        time_limit: After how many seconds, above 0, a session is given up.
        deadline: After how many seconds, at least 0, from now no session is begun any more and
            those under way are given up.
        config: Callbacks, tags and what else LangChain takes, for every session.
        inputs: Makes the graph's input of a session; by default ``{"session": session}``.

    Raises:
        InputError: If the default graph is called without ``Components``.
        ValueError: If a number is out of range.
        Exception: What ``sessions`` raises, after the results of those that were taken up before.
    """
    if graph is None and not isinstance(components, Components):
        raise InputError("the recommendation graph needs Components", field="components")
    used: InvokableGraph = build_recommendation_graph() if graph is None else graph
    has_threads = bool(getattr(used, "checkpointer", None))

    async def work(session: Session) -> Mapping[str, Any]:
        own = config
        if has_threads:
            thread: RunnableConfig = {"configurable": {"thread_id": session.session_id}}
            own = merge_configs(config, thread)
        with session_span():
            given = {"session": session} if inputs is None else inputs(session)
            state: Mapping[str, Any] = await used.ainvoke(given, own, context=components)
        return state

    outcomes = stream(
        sessions, work, concurrency, ordered=ordered, time_limit=time_limit, deadline=deadline
    )
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield _result(outcome)


def _result(outcome: Outcome[Session, Mapping[str, Any]]) -> SessionResult:
    error = outcome.failure
    return SessionResult(
        place=outcome.place,
        session=outcome.piece,
        seconds=outcome.seconds,
        state=None if error is not None else outcome.made,
        failure=None if error is None else failure_of(error),
        error=error,
    )


_MAX_PROBLEM = 300

SessionFailureKind = FailureKind | str
"""A kind of ``ModelCallError``, or ``unfinished``: not done in time, ``bad_input``: the session or
what it was handed with cannot be used, ``error``: anything else that a graph raised."""


@dataclass(frozen=True, slots=True)
class SessionFailure:
    """Why a session has no result.

    Attributes:
        kind: A stable word for reports.
        problem: What is wrong, in one line.
        transient: Whether the same may succeed later without anybody doing anything.
    """

    kind: SessionFailureKind
    problem: str
    transient: bool


def failure_of(error: Exception) -> SessionFailure:
    """Say in a stable word and one line what an exception means for a session."""
    problem = clean_text(str(error), _MAX_PROBLEM)
    if isinstance(error, ModelCallError):
        return SessionFailure(error.kind, problem, error.transient)
    if isinstance(error, UnfinishedError):
        return SessionFailure("unfinished", problem, True)
    if isinstance(error, InputError):
        return SessionFailure("bad_input", problem, False)
    named = f"{type(error).__name__}: {problem}" if problem else type(error).__name__
    return SessionFailure("error", named, False)


_DURATION = METER.create_histogram(
    "agentrec.session.duration",
    unit="s",
    description="How long sessions were worked on.",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(16)],
)


def session_span() -> TimedSpan:
    """What to work on one session in; calls to the model that it is first to ask for are inside."""
    return TimedSpan("agentrec.session", _DURATION, {}, _kind_of)


def _kind_of(error: BaseException) -> str:
    # What is no Exception stops the work from outside: a limit of time, or whoever wants no more.
    return failure_of(error).kind if isinstance(error, Exception) else "unfinished"
