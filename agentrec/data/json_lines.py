"""Files with one JSON object a line, read so that every fault has a line number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from agentrec.errors import InputError

Record = dict[str, object]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
                line = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
                if line.strip():
                    empty = False
                    yield number, _record(file, number, line)
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    if empty:
        raise InputError("is empty; it needs one JSON object a line", file=file)


def _record(file: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8",
            file=file,
            line=number,
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not valid JSON ({error.msg}, column {error.colno}); each line is one JSON object",
            file=file,
            line=number,
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"is not usable JSON ({reason})", file=file, line=number) from error
    if not isinstance(record, dict):
        raise InputError('is not a JSON object like {"item_id": "1"}', file=file, line=number)
    return record


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
