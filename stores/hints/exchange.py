"""Export hints to a file of JSON lines, and import them."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.atomic_files import write_atomically
from agentrec.catalog import clean_text
from agentrec.contracts import HintStore
from agentrec.data.records import LocatedRecord, Record, read_json_lines
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintEmbedding, HintEvidence, HintProvenance, HintState
from agentrec.stores.hints.lifecycle import MAX_REASON_LENGTH, Embed, text_fault

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
    """Return a hint as a JSON object: its id, all its fields, and the vector if one is given."""
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
        # A model can write an unpaired surrogate, which UTF-8 cannot hold.
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
    if file.is_file() and file.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"is larger than {MAX_FILE_BYTES:,} bytes", file=file)
    hints: list[WrittenHint] = []
    places: dict[str, int] = {}
    for line, fields in read_json_lines(file, MAX_LINE_BYTES):
        if len(hints) == MAX_HINTS:
            raise InputError(f"has more than {MAX_HINTS:,} hints", file=file, line=line)
        written = _hint(LocatedRecord(file, line, fields), line)
        first = places.setdefault(written.hint.hint_id, line)
        if first != line:
            raise InputError(
                f"repeats the hint of line {first}", file=file, line=line, field="text"
            )
        hints.append(written)
    return hints


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


class ImportReport(BaseModel):
    """The result of an import.

    Attributes:
        added: Ids of the hints that were added, in the file's order.
        skipped: Ids of the hints that were stored already, in any state; they did not change.
    """

    model_config = ConfigDict(frozen=True)

    added: tuple[str, ...]
    skipped: tuple[str, ...]


async def export_hints(
    store: HintStore,
    file: Path,
    states: Sequence[HintState] = STATES,
    embed: Embed | None = None,
) -> int:
    """Write hints to a file, one JSON object a line, in the order of adding.

    Args:
        store: The knowledge base.
        file: The file; one that is there is replaced, whole or not at all.
        states: Hints in which states.
        embed: Makes vectors to write with the hints: the model the knowledge base was made with.
            Left out, the file has none; texts are enough to make them again.

    Returns:
        How many hints were written.

    Raises:
        InputError: If there is nothing to write, or the file cannot be written.
    """
    hints = await store.all(states)
    if not hints:
        raise InputError("the knowledge base has no such hints; there is nothing to export")
    vectors: Sequence[Sequence[float] | None] = [None] * len(hints)
    if embed is not None:
        vectors = await embed([hint.text for hint in hints])
    records = map(as_record, hints, vectors)
    await asyncio.to_thread(write_hints, file, records)
    return len(hints)


async def import_hints(
    store: HintStore,
    file: Path,
    embed: Embed,
    *,
    namespace: str = "",
    as_nominated: bool = False,
    take_over: bool = False,
    vectors_of: str = "",
) -> ImportReport:
    """Store what a file of hints holds, in one revision. Anything wrong in it, and nothing is.

    Texts, states, provenance, evidence and links are as in the file. A link to a hint that is
    neither in the file nor stored is dropped.

    Args:
        store: The knowledge base.
        file: A file by ``export_hints``, or one like it.
        embed: Makes vectors of texts.
        namespace: The knowledge base's.
        as_nominated: Whether all hints come in as nominated, whatever the file says.
        take_over: Whether hints of another namespace may come into this one. Their ids change.
        vectors_of: Name of an embedding model: vectors that the file says it made are taken as
            they are, and are not made again. A file can say what it likes; leave this out where
            you do not trust it.

    Raises:
        InputError: With file, line and field, if the file cannot be used.
        StoreError: If the store fails.
    """
    written = await asyncio.to_thread(read_hints, file)
    stored = {hint.hint_id for hint in await store.all(STATES)}
    taken = [_taken(each, file, namespace, as_nominated, take_over) for each in written]
    new_ids = {each.hint.hint_id: hint.hint_id for each, hint in zip(written, taken, strict=True)}
    reachable: set[str | None] = {*stored, *new_ids.values()}
    fresh: dict[str, tuple[Hint, WrittenHint]] = {}
    skipped = []
    for each, hint in zip(written, taken, strict=True):
        if hint.hint_id in stored or hint.hint_id in fresh:
            skipped.append(hint.hint_id)
        else:
            fresh[hint.hint_id] = (_linked(hint, new_ids, reachable), each)
    if fresh:
        vectors = await _vectors([each for _, each in fresh.values()], embed, vectors_of)
        hints = [hint for hint, _ in fresh.values()]
        note = f"imported from {clean_text(file.name, MAX_REASON_LENGTH)}"
        try:
            await store.add_many(hints, vectors, note=note)
        except ValueError as error:
            raise InputError(f"does not fit the knowledge base: {error}", file=file) from error
    return ImportReport(added=tuple(fresh), skipped=tuple(skipped))


def _taken(
    written: WrittenHint, file: Path, namespace: str, as_nominated: bool, take_over: bool
) -> Hint:
    """A hint as it is to be in this knowledge base, but for its links."""
    hint = written.hint
    if hint.namespace != namespace and not take_over:
        raise InputError(
            f"is {hint.namespace!r}, and the knowledge base is of {namespace!r}; such hints come"
            " in only if you say so (--take-over)",
            file=file,
            line=written.line,
            field="namespace",
        )
    changes: dict[str, object] = {
        "namespace": namespace,
        "reason": clean_text(hint.reason, MAX_REASON_LENGTH),
    }
    if as_nominated:
        changes |= {"state": "nominated", "merged_into": None, "reason": "imported as nominated"}
    return hint.model_copy(update=changes)


def _linked(hint: Hint, new_ids: dict[str, str], reachable: AbstractSet[str | None]) -> Hint:
    """A hint with links by the ids of this knowledge base."""
    links = {"replaces": hint.replaces, "merged_into": hint.merged_into}
    led = {name: None if link is None else new_ids.get(link, link) for name, link in links.items()}
    kept = {
        name: link if link in reachable and link != hint.hint_id else None
        for name, link in led.items()
    }
    return hint.model_copy(update=kept)


async def _vectors(
    written: Sequence[WrittenHint], embed: Embed, vectors_of: str
) -> list[Sequence[float]]:
    vectors: list[Sequence[float] | None] = [
        each.vector
        if vectors_of and each.hint.embedding and each.hint.embedding.model == vectors_of
        else None
        for each in written
    ]
    missing = [place for place, vector in enumerate(vectors) if vector is None]
    if missing:
        made = await embed([written[place].hint.text for place in missing])
        for place, vector in zip(missing, made, strict=True):
            vectors[place] = vector
    return [vector for vector in vectors if vector is not None]
