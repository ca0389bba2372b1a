"""JSON objects that somebody else wrote: lines, fields, and errors that say where and what."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from agentrec.catalog import AttributeValue
from agentrec.errors import InputError

Record = dict[str, object]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

RowReason = Literal[
    "too_long",  # the line, or an id, has more characters than allowed
    "wrong_encoding",  # not UTF-8
    "not_json",  # not JSON, nested too deeply, or with NaN or Infinity
    "not_an_object",  # JSON, but not an object
    "not_csv",  # a quote that is not closed on its line, or is misplaced
    "wrong_columns",  # more or fewer fields than the header has
    "missing_field",  # a required field is absent, null, or an empty cell
    "wrong_type",  # a field, or something in a list, is of another type
    "wrong_value",  # anything else that is wrong with a field
    "empty",  # an empty id, or a session without items
    "bad_text",  # half of a surrogate pair, or a NUL character in an id
    "too_many",  # more items or candidates than allowed
    "unknown_item",  # an id that the catalogue lacks
    "too_few_candidates",  # fewer than 2 different ones
    "target_not_offered",  # the target is not among the candidates
]
"""What is wrong with a row, as a stable word to count by."""


class RowError(InputError):
    """A row that cannot be used.

    Args:
        reason: Why, as a stable word.
        problem: What is wrong and what would be right, in one line.
        file: Its file, if known.
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


def read_json_lines(file: Path, max_line_bytes: int | None = None) -> Iterator[tuple[int, Record]]:
    """Read a file of JSON objects.

    Blank lines and a byte order mark are skipped. ``NaN`` and ``Infinity`` are not JSON.

    Args:
        file: UTF-8 text, one object a line.
        max_line_bytes: For files of strangers: a longer line, which could fill the memory, is
            refused, and so is what is not a regular file. ``None`` for no limit.

    Yields:
        The 1-based line number and the object; at least one.

    Raises:
        InputError: If the file is missing, empty or unreadable, or a line is not one JSON object.
    """
    empty = True
    try:
        if max_line_bytes is not None:
            _check_lines(file, max_line_bytes)
        with file.open("rb") as stream:
            # Bytes split at line feeds only; text would also split at the separators U+2028 and
            # U+0085, which JSON allows inside a string.
            for number, raw in enumerate(stream, 1):
                line = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
                if line.strip():
                    empty = False
                    yield number, parse_record(line)
    except RowError as error:
        raise InputError(error.problem, file=file, line=number) from error
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    if empty:
        raise InputError("is empty; it needs one JSON object a line", file=file)


def _check_lines(file: Path, max_bytes: int) -> None:
    if file.exists() and not file.is_file():
        raise InputError("is not a file", file=file)
    with file.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(max_bytes + 1), b""), 1):
            if len(line) > max_bytes:
                raise InputError(f"is longer than {max_bytes:,} bytes", file=file, line=number)


def parse_record(line: bytes) -> Record:
    """Parse one JSON object.

    Args:
        line: UTF-8 text; white space around the object is ignored.

    Raises:
        RowError: If it is not one JSON object.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise encoding_error(error) from error
    record = parse_json(text, "each line is one JSON object")
    if not isinstance(record, dict):
        raise RowError("not_an_object", 'is not a JSON object like {"item_id": "1"}')
    return record


def encoding_error(error: UnicodeDecodeError) -> RowError:
    """Return the error of a line that is not UTF-8."""
    problem = f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
    return RowError("wrong_encoding", problem)


def parse_json(text: str, expected: str) -> object:
    """Parse one JSON value.

    Args:
        text: The value.
        expected: What would be right, for the error.

    Raises:
        RowError: If it is not JSON, or too large or too deep to be read.
    """
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"{error.msg}, column {error.colno}"
        raise RowError("not_json", f"is not valid JSON ({where}); {expected}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RowError("not_json", f"is not usable JSON ({reason})") from error
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


# Made once: ``json.loads`` would make one for every line when it gets ``parse_constant``.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


@dataclass(frozen=True, slots=True)
class LocatedRecord:
    """A record, and where it was read from.

    Attributes:
        file: The file it was read from.
        line: Its 1-based line; ``None`` in a file without lines.
        fields: What it holds.
    """

    file: Path
    line: int | None
    fields: Record

    def error(self, problem: str, field: str, reason: RowReason = "wrong_value") -> RowError:
        """Return the error for one of the fields."""
        return RowError(reason, problem, file=self.file, line=self.line, field=field)

    def required(self, field: str) -> object:
        """Return the value of a required field.

        Raises:
            InputError: If it is missing or null.
        """
        value = self.fields.get(field)
        if value is None:
            state = "is null" if field in self.fields else "is missing"
            raise self.error(f"{state}; every line needs it", field, "missing_field")
        return value

    def identity(self, field: str) -> str:
        """Return an id: a text, or a whole number as its digits.

        Raises:
            InputError: If it is missing, empty or of another type.
        """
        return self._identity(self.required(field), field)

    def identities(self, field: str) -> list[str]:
        """Return a list of ids, in order; it may be empty.

        Raises:
            InputError: If it is missing, not a list, or holds something that is not an id.
        """
        values = self.required(field)
        if not isinstance(values, list):
            raise self.error(f"must be a list of ids, not {_kind(values)}", field, "wrong_type")
        return [self._identity(value, field) for value in values]

    def text(self, field: str) -> str:
        """Return a text.

        Raises:
            InputError: If it is missing, of another type, or not valid Unicode.
        """
        value = self.required(field)
        if not isinstance(value, str):
            raise self.error(f"must be a text, not {_kind(value)}", field, "wrong_type")
        return self._unicode(value, field)

    def attribute(self, field: str) -> AttributeValue | None:
        """Return an attribute: a text, a finite number or several texts; ``None`` for null.

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
        raise self.error(problem, field, "wrong_type")

    def _identity(self, value: object, field: str) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            problem = f"an id must be a text or a whole number, not {_kind(value)}"
            raise self.error(problem, field, "wrong_type")
        if not value:
            raise self.error("an id must not be empty", field, "empty")
        return self._unicode(value, field)

    def _unicode(self, value: str, field: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON can spell half a character ("\ud800"), which no UTF-8 file can hold.
            problem = "holds half of a surrogate pair, which is not a character"
            raise self.error(problem, field, "bad_text") from error
        return value


def _kind(value: object) -> str:
    """Return the name of a JSON type in words."""
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
