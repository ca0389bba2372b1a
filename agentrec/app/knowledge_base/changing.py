"""Changing a knowledge base: ``agentrec kb add``, ``edit``, ``merge`` and the like."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from agentrec.app.knowledge_base.location import (
    KnowledgeBase,
    KnowledgeBaseLocation,
    describe_location,
    missing_message,
    named_embed,
    open_existing,
    open_or_create,
)
from agentrec.app.knowledge_base.reading import find_hint, parse_states
from agentrec.app.knowledge_base.results import (
    AddedHint,
    ChangedHints,
    KnowledgeBaseResult,
    ReembeddedHints,
)
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintEmbedding
from agentrec.stores.hints.exchange import import_hints, read_hints
from agentrec.stores.hints.lifecycle import (
    MAX_REASON_LENGTH,
    admit,
    edit,
    merge,
    retire,
    text_fault,
)


async def add_hint(
    location: KnowledgeBaseLocation, text: str, state: str, reason: str, embeddings: str | None
) -> KnowledgeBaseResult:
    """Store a hint that a person wrote; create the knowledge base if embeddings are named."""
    fault = text_fault(text)
    if fault is not None:
        raise InputError(fault, field="text")
    states = parse_states(state)
    if len(states) > 1:
        raise InputError("a hint has one state, so it cannot be 'all'", field="state")
    async with open_or_create(location, embeddings) as base:
        hint = Hint(
            text=text,
            namespace=base.namespace,
            state=states[0],
            reason=clean_text(reason, MAX_REASON_LENGTH) or "written by a person",
        )
        known = await base.store.get(hint.hint_id)
        if known is None:
            vectors = await base.open_embed(embeddings)([hint.text])
            await base.store.add_many([hint], vectors, note="added by a person")
        stored = await base.store.get(hint.hint_id) or hint
        added = AddedHint(known is None, stored)
        return KnowledgeBaseResult(added, base.address, await base.store.all(STATES))


async def edit_hint(
    location: KnowledgeBaseLocation, id_prefix: str, text: str, embeddings: str | None
) -> KnowledgeBaseResult:
    """Replace a hint by one with another text."""
    async with open_existing(location) as base:
        old = find_hint(await base.store.all(STATES), id_prefix)
        new = await edit(base.store, old.hint_id, text, base.open_embed(embeddings))
        revision = (await base.store.revisions())[-1].number
        return await _changed(base, [old.hint_id, new.hint_id], revision)


async def set_state(
    location: KnowledgeBaseLocation, id_prefixes: Sequence[str], retired: bool, reason: str
) -> KnowledgeBaseResult:
    """Retire or admit hints."""
    async with open_existing(location) as base:
        hints = await base.store.all(STATES)
        ids = [find_hint(hints, each).hint_id for each in id_prefixes]
        revision = await (retire if retired else admit)(base.store, ids, reason)
        return await _changed(base, ids, revision)


async def merge_hints(
    location: KnowledgeBaseLocation, kept: str, dropped: Sequence[str], reason: str
) -> KnowledgeBaseResult:
    """Let one hint replace others that say the same."""
    async with open_existing(location) as base:
        hints = await base.store.all(STATES)
        target = find_hint(hints, kept).hint_id
        ids = [find_hint(hints, each).hint_id for each in dropped]
        revision = await merge(base.store, target, ids, reason)
        return await _changed(base, [target, *ids], revision)


async def roll_back(location: KnowledgeBaseLocation, revision: int) -> KnowledgeBaseResult:
    """Restore the knowledge base as a revision left it."""
    async with open_existing(location) as base:
        number = await base.store.roll_back(revision)
        [made] = [each for each in await base.store.revisions() if each.number == number]
        return await _changed(base, made.hint_ids, number)


async def import_file(
    location: KnowledgeBaseLocation,
    file: Path,
    embeddings: str | None,
    as_nominated: bool,
    take_over: bool,
    vectors: bool,
) -> KnowledgeBaseResult:
    """Store the hints of a file; create the knowledge base if embeddings are named."""
    # A file that cannot be used must not leave an empty knowledge base behind.
    await asyncio.to_thread(read_hints, file)
    async with open_or_create(location, embeddings) as base:
        report = await import_hints(
            base.store,
            file,
            base.open_embed(embeddings),
            namespace=base.namespace,
            as_nominated=as_nominated,
            take_over=take_over,
            vectors_of=(embeddings or base.embedding_model) if vectors else "",
        )
    return KnowledgeBaseResult(report, base.address)


async def reembed_hints(location: KnowledgeBaseLocation, embeddings: str) -> KnowledgeBaseResult:
    """Give all hints the vectors of another embedding model."""
    if location.url is not None:
        raise InputError(
            "only a folder can be re-embedded; export from the server, and import into a new"
            " namespace",
            field="url",
        )
    info = await describe_location(location)
    if info is None:
        raise InputError(await missing_message(location))
    from agentrec.stores.hints.opening import reembed

    embed = named_embed(embeddings)
    dimension = len((await embed(["hint"]))[0])

    async def as_lists(texts: Sequence[str]) -> list[list[float]]:
        return [list(vector) for vector in await embed(list(texts))]

    count = await reembed(location.folder, as_lists, embeddings, dimension, info.namespace)
    embedding = HintEmbedding(model=embeddings, dimension=dimension)
    return KnowledgeBaseResult(ReembeddedHints(count, embedding), location.address)


async def _changed(
    base: KnowledgeBase, ids: Sequence[str], revision: int | None
) -> KnowledgeBaseResult:
    hints = await base.store.all(STATES)
    changed = [hint for hint in hints if hint.hint_id in set(ids)]
    return KnowledgeBaseResult(ChangedHints(revision, changed), base.address, hints)
