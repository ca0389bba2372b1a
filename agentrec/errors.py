"""Typed failures: the text of each is one line that says what is wrong and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

FailureKind = Literal[
    "rate_limited",
    "timed_out",
    "refused",
    "malformed",
    "budget_spent",
    "unreachable",
    "failed",
]

_PASSING: tuple[FailureKind, ...] = ("rate_limited", "timed_out", "unreachable", "malformed")


class AgentRecError(Exception):
    """Base of every failure the library raises on purpose.

    ``exit_code`` is what a command-line run ends with when this reaches it.
    """

    exit_code = 1


class InputError(AgentRecError):
    """What the user gave cannot be used: a file, a field, an option.

    Args:
        problem: What is wrong and what would be right, in one line.
        file: The file concerned, if any.
        line: 1-based line number in that file, if known.
        field: The field concerned, if any.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else Path(file)
        self.line = line
        self.field = field
        place = "" if file is None else str(file)
        if line is not None:
            place += f":{line}"
        if field is not None:
            place += f"{', ' if place else ''}field {field!r}"
        super().__init__(f"{place}: {problem}" if place else problem)


class FetchError(AgentRecError):
    """Something that has to be downloaded could not be had, or is not what it should be."""


class ModelCallError(AgentRecError):
    """A language-model call failed for good.

    Args:
        problem: What is wrong, in one line.
        kind: A stable word for reports: ``rate_limited``, ``timed_out`` and ``unreachable`` say
            what they mean; ``refused`` is a key, an account or a request that the endpoint will
            not serve, content filters included; ``malformed`` an answer that is none;
            ``budget_spent`` a call that was not made for want of money; ``failed`` all else.
        transient: Whether the same call may succeed later; by default what the kind suggests.
        status: Status of the HTTP answer, if there was one.
        retry_after: After how many seconds the endpoint wants to be asked again, at least 0;
            ``None`` where it did not say.
    """

    def __init__(
        self,
        problem: str,
        *,
        kind: FailureKind = "failed",
        transient: bool | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.kind: FailureKind = kind
        self.transient = kind in _PASSING if transient is None else transient
        self.status = status
        self.retry_after = retry_after
        super().__init__(problem)


class StoreError(AgentRecError):
    """A knowledge base could not be opened, read or written."""
