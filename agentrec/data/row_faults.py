"""Why a row that somebody else wrote cannot be used, as a stable word."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agentrec.errors import InputError

RowReason = Literal[
    "too_long",
    "wrong_encoding",
    "not_json",
    "not_an_object",
    "not_csv",
    "wrong_columns",
    "missing_field",
    "wrong_type",
    "wrong_value",
    "empty",
    "bad_text",
    "too_many",
    "unknown_item",
    "too_few_candidates",
    "target_not_offered",
]
"""What is wrong with a row, for counting.

- ``too_long``: the line, or an id, has more characters than allowed.
- ``wrong_encoding``: not UTF-8.
- ``not_json``: not JSON, nested too deeply, or with ``NaN`` or ``Infinity``.
- ``not_an_object``: JSON, but no object.
- ``not_csv``: a quote that is not closed on its line, or stands where none may.
- ``wrong_columns``: more or fewer fields than the header has.
- ``missing_field``: a field that is needed is not there, is null, or is an empty cell.
- ``wrong_type``: a field, or something in a list, is of another type.
- ``wrong_value``: anything else that is wrong with a field.
- ``empty``: an empty id, or a session without items.
- ``bad_text``: half of a surrogate pair, or a NUL character in an id.
- ``too_many``: more items or candidates than allowed.
- ``unknown_item``: an id that the catalogue lacks.
- ``too_few_candidates``: fewer than 2 different ones.
- ``target_not_offered``: the target is not among the candidates.
"""


class RowError(InputError):
    """A row cannot be used.

    Args:
        reason: Why, as a stable word.
        problem: What is wrong and what would be right, in one line.
        file: The file it stands in, if known.
        line: Its 1-based line, if known.
        field: The field concerned, if any.
    """

    def __init__(
        self,
        reason: RowReason,
        problem: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.reason: RowReason = reason
        super().__init__(problem, file=file, line=line, field=field)
