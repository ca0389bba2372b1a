"""Typed failures: the text of each is one line that says what is wrong and what would be right."""

from __future__ import annotations

from pathlib import Path


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

    ``kind`` is a stable word for reports: ``unreachable``, ``timed_out``, ``rate_limited``,
    ``refused``, ``malformed`` or ``failed``.
    """

    def __init__(self, problem: str, *, kind: str = "failed") -> None:
        self.kind = kind
        super().__init__(problem)


class StoreError(AgentRecError):
    """A knowledge base could not be opened, read or written."""
