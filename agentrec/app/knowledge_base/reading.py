"""Looking into a knowledge base: what ``agentrec kb list``, ``show`` and the like do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from agentrec.app.knowledge_base.answers import Answer, hint_of, say, states_of
from agentrec.app.knowledge_base.location import Place, opened
from agentrec.app.reports.kb_tables import (
    print_differences,
    print_found,
    print_hint,
    print_hints,
    print_revisions,
    short_ids,
)
from agentrec.errors import InputError
from agentrec.hints import STATES
from agentrec.stores.hints.differences import Differences, between_revisions, since_export
from agentrec.stores.hints.exchange import as_record, export_hints
from agentrec.stores.hints.lifecycle import lineage


async def list_hints(place: Place, state: str) -> Answer:
    """The hints in some states."""
    states = states_of(state)
    async with opened(place) as base:
        everything = await base.store.all(STATES)
    hints = [hint for hint in everything if hint.state in states]

    def show(console: Console) -> None:
        if hints:
            print_hints(hints, short_ids(everything), console)
        elif everything:
            say(console, f"{base.place} has no {state} hints; --state all shows {len(everything)}.")
        else:
            say(console, f"{base.place} has no hints yet.")

    return Answer({"hints": [as_record(hint) for hint in hints]}, show)


async def show_hint(place: Place, given: str) -> Answer:
    """All that is known of one hint."""
    async with opened(place) as base:
        hint = hint_of(await base.store.all(STATES), given)
        versions = await lineage(base.store, hint.hint_id)
        touching = [
            revision
            for revision in await base.store.revisions()
            if hint.hint_id in revision.hint_ids
        ]
    record = {
        "hint": as_record(hint),
        "lineage": [as_record(version) for version in versions],
        "revisions": [revision.model_dump(mode="json") for revision in touching],
    }
    return Answer(record, lambda console: print_hint(hint, versions, touching, console))


async def search(place: Place, text: str, limit: int, state: str, embeddings: str | None) -> Answer:
    """The hints nearest to a text."""
    states = states_of(state)
    if not text.strip():
        raise InputError("is empty; say what to look for", field="text")
    async with opened(place) as base:
        [vector] = await base.embed_with(embeddings)([text])
        found = await base.store.search(vector, limit, states)
        ids = short_ids(await base.store.all(STATES))

    def show(console: Console) -> None:
        if found:
            print_found(found, ids, console)
        else:
            say(console, f"{base.place} has no such hints.")

    record = [{"similarity": each.similarity, **as_record(each.hint)} for each in found]
    return Answer({"hints": record}, show)


async def list_revisions(place: Place) -> Answer:
    """Every change that was made."""
    async with opened(place) as base:
        revisions = await base.store.revisions()

    def show(console: Console) -> None:
        if revisions:
            print_revisions(revisions, console)
        else:
            say(console, f"{base.place} has no revisions yet.")

    return Answer({"revisions": [each.model_dump(mode="json") for each in revisions]}, show)


async def diff(place: Place, before: int | None, after: int | None, file: Path | None) -> Answer:
    """What changed between two revisions, or since an export."""
    if (before is None) == (file is None):
        raise InputError("name a revision to begin with, or a file with --file", field="before")
    async with opened(place) as base:
        if file is not None:
            told = await since_export(base.store, file)
        else:
            told = await between_revisions(base.store, before or 0, after)
    return Answer(_as_json(told), lambda console: print_differences(told, console))


async def export(place: Place, file: Path, state: str, vectors: bool, force: bool) -> Answer:
    """Write hints to a file."""
    states = states_of(state)
    if not force and await asyncio.to_thread(file.exists):
        raise InputError("is there already; --force replaces it", file=file)
    async with opened(place) as base:
        embed = base.embed_with(None) if vectors else None
        count = await export_hints(base.store, file, states, embed)
    record = {"file": str(file), "hints": count}
    return Answer(record, lambda console: say(console, f"{count} hints written to {file}"))


def _as_json(told: Differences) -> dict[str, object]:
    record: dict[str, object] = {
        name: [as_record(hint) for hint in hints]
        for name, hints in (("added", told.added), ("missing", told.missing))
    }
    for name, changes in (("retired", told.retired), ("changed", told.changed)):
        record[name] = [
            {
                "before": as_record(change.before),
                "after": as_record(change.after),
                "fields": list(change.fields),
            }
            for change in changes
        ]
    return record
