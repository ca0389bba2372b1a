"""Hints out of a knowledge base into a file, and into a knowledge base from one.

The file is described in ``exchange_file``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agentrec.catalog import clean_text
from agentrec.contracts import HintStore
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintState
from agentrec.stores.exchange_file import WrittenHint, as_record, read_hints, write_hints
from agentrec.stores.lifecycle import MAX_REASON_LENGTH, Embed


class ImportReport(BaseModel):
    """What an import did.

    Attributes:
        added: Ids of the hints that are new in the knowledge base, in the file's order.
        skipped: Ids of those that were there already, in whatever state; they are as they were.
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
        file: What ``export_hints`` wrote, or anything like it.
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
