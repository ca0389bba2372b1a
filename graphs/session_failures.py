"""What a failure of one session among many is called."""

from __future__ import annotations

from dataclasses import dataclass

from agentrec.catalog import clean_text
from agentrec.errors import FailureKind, InputError, ModelCallError
from agentrec.streaming.streaming import UnfinishedError

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
