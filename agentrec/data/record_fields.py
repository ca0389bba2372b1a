"""Values out of a record somebody else wrote, or an error that says where and what is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from agentrec.catalog import AttributeValue
from agentrec.data.json_lines import Record
from agentrec.data.row_faults import RowError, RowReason


@dataclass(frozen=True, slots=True)
class PlacedRecord:
    """A record and where it stands.

    Attributes:
        file: The file it was read from.
        line: Its 1-based line; ``None`` in a file without lines.
        fields: What it holds.
    """

    file: Path
    line: int | None
    fields: Record

    def fault(self, problem: str, field: str, reason: RowReason = "wrong_value") -> RowError:
        """Make the error for one of the fields."""
        return RowError(reason, problem, file=self.file, line=self.line, field=field)

    def required(self, field: str) -> object:
        """Give the value of a field that has to be there.

        Raises:
            InputError: If it is missing or null.
        """
        value = self.fields.get(field)
        if value is None:
            state = "is null" if field in self.fields else "is missing"
            raise self.fault(f"{state}; every line needs it", field, "missing_field")
        return value

    def identity(self, field: str) -> str:
        """Give an id: a text, or a whole number, which becomes its digits.

        Raises:
            InputError: If it is missing, empty or of another type.
        """
        return self._identity(self.required(field), field)

    def identities(self, field: str) -> list[str]:
        """Give a list of ids, in order; it may be empty.

        Raises:
            InputError: If it is missing, not a list, or holds something that is no id.
        """
        values = self.required(field)
        if not isinstance(values, list):
            raise self.fault(f"must be a list of ids, not {_kind(values)}", field, "wrong_type")
        return [self._identity(value, field) for value in values]

    def text(self, field: str) -> str:
        """Give a text.

        Raises:
            InputError: If it is missing, of another type, or not valid Unicode.
        """
        value = self.required(field)
        if not isinstance(value, str):
            raise self.fault(f"must be a text, not {_kind(value)}", field, "wrong_type")
        return self._unicode(value, field)

    def attribute(self, field: str) -> AttributeValue | None:
        """Give an attribute: a text, a finite number or several texts; ``None`` for null.

        Raises:
            InputError: If it is anything else.
        """
        value = self.fields[field]
        if value is None:
            return None
        if isinstance(value, str):
            return self._unicode(value, field)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return tuple(self._unicode(str(part), field) for part in value)
        problem = f"must be a text, a number or a list of texts, not {_kind(value)}"
        raise self.fault(problem, field, "wrong_type")

    def _identity(self, value: object, field: str) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            problem = f"an id must be a text or a whole number, not {_kind(value)}"
            raise self.fault(problem, field, "wrong_type")
        if not value:
            raise self.fault("an id must not be empty", field, "empty")
        return self._unicode(value, field)

    def _unicode(self, value: str, field: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON can spell half a character ("\ud800"), which no UTF-8 file can hold.
            problem = "holds half of a surrogate pair, which is no character"
            raise self.fault(problem, field, "bad_text") from error
        return value


def _kind(value: object) -> str:
    """Name a JSON type in words."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number with a fraction" if math.isfinite(value) else "a number too large"
    if isinstance(value, list):
        return "a list of other things" if value else "an empty list"
    return "null" if value is None else "an object"
