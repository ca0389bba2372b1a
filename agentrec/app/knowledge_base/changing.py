"""Changing a knowledge base: what ``agentrec kb add``, ``edit``, ``merge`` and the like do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from agentrec.app.knowledge_base.answers import Answer, hint_of, say, states_of
from agentrec.app.knowledge_base.location import (
    KnowledgeBase,
    Place,
    embedder,
    found,
    missing,
    opened,
    opened_or_made,
)
from agentrec.app.reports.kb_tables import print_hints, short_ids
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint
from agentrec.stores.hints.exchange import as_record, import_hints, read_hints
from agentrec.stores.hints.lifecycle import (
    MAX_REASON_LENGTH,
    admit,
    edit,
    merge,
    retire,
    text_fault,
)
from agentrec.stores.hints.opening import reembed


async def add_hint(
    place: Place, text: str, state: str, reason: str, embeddings: str | None
) -> Answer:
    """Store a hint that a person wrote; make the knowledge base if embeddings are named."""
    fault = text_fault(text)
    if fault is not None:
        raise InputError(fault, field="text")
    states = states_of(state)
    if len(states) > 1:
        raise InputError("a hint has one state", field="state")
    async with opened_or_made(place, embeddings) as base:
        hint = Hint(
            text=text,
            namespace=base.namespace,
            state=states[0],
            reason=clean_text(reason, MAX_REASON_LENGTH) or "written by a person",
        )
        there = await base.store.get(hint.hint_id)
        if there is None:
            vectors = await base.embed_with(embeddings)([hint.text])
            await base.store.add_many([hint], vectors, note="added by a person")
        stored = await base.store.get(hint.hint_id) or hint
        ids = short_ids(await base.store.all(STATES))

    def show(console: Console) -> None:
        if there is not None:
            say(console, "That hint is there already; nothing was changed.")
        print_hints([stored], ids, console)

    return Answer({"added": there is None, "hint": as_record(stored)}, show)


async def edit_hint(place: Place, given: str, text: str, embeddings: str | None) -> Answer:
    """Put a hint with another text in the place of one."""
    async with opened(place) as base:
        old = hint_of(await base.store.all(STATES), given)
        new = await edit(base.store, old.hint_id, text, base.embed_with(embeddings))
        revision = (await base.store.revisions())[-1].number
        return await _changed(base, [old.hint_id, new.hint_id], revision)


async def set_state(place: Place, given: Sequence[str], retired: bool, reason: str) -> Answer:
    """Retire or admit hints."""
    async with opened(place) as base:
        hints = await base.store.all(STATES)
        ids = [hint_of(hints, each).hint_id for each in given]
        revision = await (retire if retired else admit)(base.store, ids, reason)
        return await _changed(base, ids, revision)


async def merge_hints(place: Place, kept: str, dropped: Sequence[str], reason: str) -> Answer:
    """Let one hint stand for others."""
    async with opened(place) as base:
        hints = await base.store.all(STATES)
        target = hint_of(hints, kept).hint_id
        ids = [hint_of(hints, each).hint_id for each in dropped]
        revision = await merge(base.store, target, ids, reason)
        return await _changed(base, [target, *ids], revision)


async def roll_back(place: Place, revision: int) -> Answer:
    """Make the knowledge base again what a revision left it."""
    async with opened(place) as base:
        number = await base.store.roll_back(revision)
        [made] = [each for each in await base.store.revisions() if each.number == number]
        return await _changed(base, made.hint_ids, number)


async def import_file(
    place: Place,
    file: Path,
    embeddings: str | None,
    as_nominated: bool,
    take_over: bool,
    vectors: bool,
) -> Answer:
    """Store what a file of hints holds; make the knowledge base if embeddings are named."""
    # A file that is no use must not leave an empty knowledge base behind.
    await asyncio.to_thread(read_hints, file)
    async with opened_or_made(place, embeddings) as base:
        report = await import_hints(
            base.store,
            file,
            base.embed_with(embeddings),
            namespace=base.namespace,
            as_nominated=as_nominated,
            take_over=take_over,
            vectors_of=(embeddings or base.embedding_model) if vectors else "",
        )
    line = f"{len(report.added)} hints added, {len(report.skipped)} there already"
    return Answer(report.model_dump(mode="json"), lambda console: say(console, line))


async def embed_anew(place: Place, embeddings: str) -> Answer:
    """Give the knowledge base the vectors of another embedding model."""
    if place.url is not None:
        raise InputError(
            "only a folder can be embedded anew; export from the server, and import into a"
            " namespace that is not there yet",
            field="url",
        )
    info = await found(place)
    if info is None:
        raise InputError(await missing(place))
    embed = embedder(embeddings)
    dimension = len((await embed(["hint"]))[0])

    async def as_lists(texts: Sequence[str]) -> list[list[float]]:
        return [list(vector) for vector in await embed(list(texts))]

    count = await reembed(place.folder, as_lists, embeddings, dimension, info.namespace)
    record = {"hints": count, "embedding": {"model": embeddings, "dimension": dimension}}
    line = f"{count} hints embedded anew with {embeddings} ({dimension} numbers each)"
    if count == 0:
        line = f"All vectors are by {embeddings} already."
    return Answer(record, lambda console: say(console, line))


async def _changed(base: KnowledgeBase, ids: Sequence[str], revision: int | None) -> Answer:
    """The hints that a command was about, as they are now."""
    hints = [hint for hint in await base.store.all(STATES) if hint.hint_id in set(ids)]
    shown_ids = short_ids(await base.store.all(STATES))

    def show(console: Console) -> None:
        say(console, "Nothing to change." if revision is None else f"Revision {revision}.")
        if hints:
            print_hints(hints, shown_ids, console)

    return Answer({"revision": revision, "hints": [as_record(hint) for hint in hints]}, show)
