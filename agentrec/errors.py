"""Typed failures: the text is one line that says what is wrong and what would be right."""

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

_TRANSIENT: tuple[FailureKind, ...] = ("rate_limited", "timed_out", "unreachable", "malformed")


class AgentRecError(Exception):
    """Base of every failure that the library raises on purpose.

    ``exit_code`` is the exit code of a command that ends with this failure.
    """

    exit_code = 1


class InputError(AgentRecError):
    """Unusable input: a file, a field, an option.

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
        location = "" if file is None else str(file)
        if line is not None:
            location += f":{line}"
        if field is not None:
            location += f"{', ' if location else ''}field {field!r}"
        super().__init__(f"{location}: {problem}" if location else problem)


class FetchError(AgentRecError):
    """A download failed, or is not the expected file."""


class ModelCallError(AgentRecError):
    """A language-model call failed for good.

    Args:
        problem: What is wrong, in one line.
        kind: A stable word for reports: ``rate_limited``, ``timed_out``, ``unreachable``;
            ``refused`` for a key, an account or a request that the endpoint does not serve,
            content filters included; ``malformed`` for a reply without a usable answer;
            ``budget_spent`` for a call that was not made because the budget is spent; ``failed``
            for everything else.
        transient: Whether the same call may succeed later; the default follows the kind.
        status: HTTP status, if there was a response.
        retry_after: Seconds after which the endpoint allows the next call, at least 0; ``None``
            if it named none.
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
        self.transient = kind in _TRANSIENT if transient is None else transient
        self.status = status
        self.retry_after = retry_after
        super().__init__(problem)


class StoreError(AgentRecError):
    """A knowledge base could not be opened, read or written."""
