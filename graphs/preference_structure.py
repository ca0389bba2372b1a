"""Whether a preference text has the form that was asked for: a statement a line, and no more.

The recommender reads a text line by line, as ``factor: preference (evidence)``. Whatever stands
between the lines it cannot use, and a model that is tuned on loose texts unlearns the form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from agentrec.llm.answers.json_answers import find_list
from agentrec.llm.answers.parsing import sentence_of
from agentrec.llm.answers.preference_statements import (
    MAX_FACTOR_LENGTH,
    MAX_STATEMENT_LENGTH,
    StatedPreference,
    parse_preference,
)

StructureFault = Literal[
    "a line is no statement",
    "two statements stand in a line",
    "brackets do not pair",
    "evidence is missing",
    "a factor comes twice",
    "too few statements",
]

# A number, marks of emphasis, a colon and brackets besides.
_LONGEST_LINE = MAX_FACTOR_LENGTH + 2 * MAX_STATEMENT_LENGTH + 40


@dataclass(frozen=True)
class StructureCheck:
    """What a text has to be like to be whole.

    JSON is not the form: the pairs are what a model is to write in answer to the prompt. Turn an
    answer that came as JSON into lines first.

    Attributes:
        factors: The factors that were asked for, at least one; only these count.
        min_statements: How many statements a text has at least, at least 1.
        require_evidence: Whether every statement has its evidence in brackets.

    Raises:
        ValueError: If no factors are given, or ``min_statements`` is below 1.
    """

    factors: tuple[str, ...]
    min_statements: int = 1
    require_evidence: bool = False

    def __post_init__(self) -> None:
        if not any(map(str.strip, self.factors)):
            raise ValueError("the structure of a text shows in the factors; none were given")
        if self.min_statements < 1:
            raise ValueError(f"min_statements is at least 1, not {self.min_statements}")

    def fault(self, text: str) -> StructureFault | None:
        """Say what is broken in a text, the first thing from its top, or ``None`` if it is whole.

        Args:
            text: The lines; the time is linear in their length.
        """
        seen: set[str] = set()
        for line in text.splitlines():
            stated = self.statement(line)
            if stated is None:
                return "a line is no statement"
            if self._begins.search(stated.preference):
                return "two statements stand in a line"
            if not _paired(sentence_of(line)):
                return "brackets do not pair"
            if self.require_evidence and stated.evidence is None:
                return "evidence is missing"
            if stated.factor in seen:
                return "a factor comes twice"
            seen.add(stated.factor)
        return "too few statements" if len(seen) < self.min_statements else None

    def statement(self, line: str) -> StatedPreference | None:
        """The statement that a line is, or ``None``."""
        if len(line) > _LONGEST_LINE or find_list(line, "preferences") is not None:
            return None
        found = parse_preference(line, self.factors)
        return found[0] if len(found) == 1 else None

    @cached_property
    def _begins(self) -> re.Pattern[str]:
        """Where a statement begins."""
        names = "|".join(re.escape(factor.strip()) for factor in self.factors if factor.strip())
        return re.compile(rf"(?<!\w)(?:{names})[*_]*\s?[:\N{{FULLWIDTH COLON}}]", re.IGNORECASE)


def _paired(line: str) -> bool:
    depth = 0
    for char in line:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0
