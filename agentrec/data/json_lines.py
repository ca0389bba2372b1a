"""Files with one JSON object a line, read so that every fault has a line number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from agentrec.data.row_faults import RowError
from agentrec.errors import InputError

Record = dict[str, object]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: Path) -> Iterator[tuple[int, Record]]:
    """Read a file of JSON objects.

    Blank lines and a byte order mark are skipped. ``NaN`` and ``Infinity`` are not JSON.

    Args:
        file: UTF-8 text, one object a line.

    Yields:
        The 1-based line number and the object; at least one.

    Raises:
        InputError: If the file is missing, empty or unreadable, or a line is not one JSON object.
    """
    empty = True
    try:
        with file.open("rb") as stream:
            # Bytes split at line feeds only; text would also split at the separators U+2028 and
            # U+0085, which JSON allows inside a string.
            for number, raw in enumerate(stream, 1):
                line = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
                if line.strip():
                    empty = False
                    yield number, record_of_line(line)
    except RowError as fault:
        raise InputError(fault.problem, file=file, line=number) from fault
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    if empty:
        raise InputError("is empty; it needs one JSON object a line", file=file)


def record_of_line(line: bytes) -> Record:
    """Read one JSON object.

    Args:
        line: UTF-8 text; white space around the object does no harm.

    Raises:
        RowError: If it is not one JSON object.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        raise RowError("wrong_encoding", f"{place} is not UTF-8; save the file as UTF-8") from error
    record = json_value(text, "each line is one JSON object")
    if not isinstance(record, dict):
        raise RowError("not_an_object", 'is not a JSON object like {"item_id": "1"}')
    return record


def json_value(text: str, wanted: str) -> object:
    """Read one JSON value.

    Args:
        text: The value.
        wanted: What would be right, for the fault.

    Raises:
        RowError: If it is not JSON, or more than can be read.
    """
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"{error.msg}, column {error.colno}"
        raise RowError("not_json", f"is not valid JSON ({where}); {wanted}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RowError("not_json", f"is not usable JSON ({reason})") from error
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


# Made once: ``json.loads`` would make one for every line that it is told of constants.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
