"""Hints in a file, one JSON object a line, as they leave a knowledge base and may come in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from agentrec.atomic_files import write_atomically
from agentrec.catalog import clean_text
from agentrec.data.records import LocatedRecord, Record, read_json_lines
from agentrec.errors import InputError
from agentrec.hints import Hint, HintEmbedding, HintEvidence, HintProvenance
from agentrec.stores.lifecycle import text_fault

MAX_FILE_BYTES = 256 * 2**20
MAX_LINE_BYTES = 2**20
MAX_HINTS = 50_000

_PARTS: dict[str, type[BaseModel]] = {
    "provenance": HintProvenance,
    "evidence": HintEvidence,
    "embedding": HintEmbedding,
}
_MAX_DEPTH = 8
_MAX_SESSIONS = 10**9


@dataclass(frozen=True)
class WrittenHint:
    """A hint as it stands in a file.

    Attributes:
        hint: The hint.
        vector: Its embedding, where the file has it, as long as ``hint.embedding`` says.
        line: Its 1-based line.
    """

    hint: Hint
    vector: tuple[float, ...] | None
    line: int


def as_record(hint: Hint, vector: Sequence[float] | None = None) -> Record:
    """A hint as one JSON object: its id, all its fields, and the vector if one is given."""
    record: Record = {"hint_id": hint.hint_id, **hint.model_dump(mode="json")}
    if vector is not None:
        record["vector"] = [float(number) for number in vector]
    return record


def write_hints(file: Path, records: Iterable[Record]) -> None:
    """Write a file of hints, whole or not at all.

    Raises:
        InputError: If it cannot be written.
    """
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    try:
        # A model can be made to say half a character, which no UTF-8 file can hold.
        write_atomically(file, "".join(lines).encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=file) from error


def read_hints(file: Path) -> list[WrittenHint]:
    """Read a file of hints that anybody may have written.

    A line needs no more than ``text``. Whatever else it says is checked: fields and their types,
    that ``hint_id`` is the id of the text, that evidence adds up.

    Args:
        file: UTF-8 text, one object a line.

    Raises:
        InputError: With file, line and field, if anything in it is no hint, a hint comes twice,
            or the file is too large.
    """
    _check_size(file)
    hints: list[WrittenHint] = []
    places: dict[str, int] = {}
    for line, fields in read_json_lines(file):
        if len(hints) == MAX_HINTS:
            raise InputError(f"has more than {MAX_HINTS:,} hints", file=file, line=line)
        written = _hint(LocatedRecord(file, line, fields), line)
        first = places.setdefault(written.hint.hint_id, line)
        if first != line:
            raise InputError(
                f"is the hint of line {first} again", file=file, line=line, field="text"
            )
        hints.append(written)
    return hints


def _check_size(file: Path) -> None:
    """Refuse what would fill the memory before a line of it could be looked at."""
    try:
        if file.exists() and not file.is_file():
            raise InputError("is no file", file=file)
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"is larger than {MAX_FILE_BYTES:,} bytes", file=file)
        with file.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    problem = f"is longer than {MAX_LINE_BYTES:,} bytes"
                    raise InputError(problem, file=file, line=number)
    except FileNotFoundError as error:
        raise InputError("is missing", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error


def _hint(record: LocatedRecord, line: int) -> WrittenHint:
    _check_names(record, record.fields, {*Hint.model_fields, "hint_id", "vector"}, "")
    for name, part in _PARTS.items():
        value = record.fields.get(name)
        if isinstance(value, dict):
            _check_names(record, value, set(part.model_fields), f"{name}.")
    for name, value in record.fields.items():
        for text in _texts(record, name, value, _MAX_DEPTH):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                problem = "holds half of a surrogate pair, which is no character"
                raise record.error(problem, name) from error
    fault = text_fault(record.text("text"))
    if fault is not None:
        raise record.error(fault, "text")
    fields = {name: record.fields[name] for name in Hint.model_fields if name in record.fields}
    try:
        # As JSON, where "1" is no number but a list may be a tuple.
        hint = Hint.model_validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = clean_text(".".join(map(str, first["loc"])), 80)
        raise record.error(clean_text(first["msg"], 200), place or "text") from error
    claimed = record.fields.get("hint_id")
    if claimed is not None and claimed != hint.hint_id:
        raise record.error(f"is not the id of this text, which is {hint.hint_id}", "hint_id")
    if hint.evidence is not None:
        _check_evidence(record, hint.evidence)
    return WrittenHint(hint, _vector(record, hint), line)


def _check_names(record: LocatedRecord, fields: Record, known: set[str], inside: str) -> None:
    for name in fields:
        if name not in known:
            raise record.error("is not a field of a hint", clean_text(inside + name, 80))


def _texts(record: LocatedRecord, name: str, value: object, depth: int) -> Iterator[str]:
    """Every text in a value, names in objects included."""
    if isinstance(value, str):
        yield value
        return
    if not isinstance(value, (list, dict)):
        return
    if depth == 0:
        raise record.error("is nested too deeply", name)
    for part in value:
        yield from _texts(record, name, part, depth - 1)
        if isinstance(value, dict):
            yield from _texts(record, name, value[part], depth - 1)


def _check_evidence(record: LocatedRecord, evidence: HintEvidence) -> None:
    if evidence.sessions > _MAX_SESSIONS:
        raise record.error(f"is more than {_MAX_SESSIONS:,}", "evidence.sessions")
    if evidence.wins + evidence.losses > evidence.sessions:
        raise record.error("counts more wins and losses than sessions", "evidence")
    if not -math.inf < evidence.low <= evidence.mean_gain:
        raise record.error("is not a number at most mean_gain", "evidence.low")
    gains = evidence.effects.values()
    if gains and len(gains) != evidence.sessions:
        raise record.error(f"has {len(gains)} of {evidence.sessions} sessions", "evidence.effects")
    if not all(-1 <= gain <= 1 for gain in gains):
        raise record.error("holds a gain that is not from -1 to 1", "evidence.effects")


def _vector(record: LocatedRecord, hint: Hint) -> tuple[float, ...] | None:
    numbers = record.fields.get("vector")
    if numbers is None:
        return None
    if hint.embedding is None:
        raise record.error("is there, and embedding does not say what made it", "vector")
    if not isinstance(numbers, list) or len(numbers) != hint.embedding.dimension:
        raise record.error(f"must be a list of {hint.embedding.dimension} numbers", "vector")
    vector = []
    for number in numbers:
        # Compared first: a whole number of 4,000 digits is no float.
        if (
            not isinstance(number, (int, float))
            or isinstance(number, bool)
            or not -1e30 < number < 1e30
        ):
            raise record.error("holds something that is not a number of vector size", "vector")
        vector.append(float(number))
    if not any(vector):
        raise record.error("is all zeros and has no direction", "vector")
    return tuple(vector)
