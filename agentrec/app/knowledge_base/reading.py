"""Reading a knowledge base: ``agentrec kb list``, ``show``, ``search`` and the like."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from agentrec.app.knowledge_base.location import KnowledgeBaseLocation, open_existing
from agentrec.app.knowledge_base.results import (
    ExportedFile,
    FoundHints,
    HintDetails,
    HintList,
    KnowledgeBaseResult,
    RevisionList,
)
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintState
from agentrec.stores.hints.differences import between_revisions, since_export
from agentrec.stores.hints.exchange import export_hints
from agentrec.stores.hints.lifecycle import lineage


async def list_hints(location: KnowledgeBaseLocation, state: str) -> KnowledgeBaseResult:
    """List the hints in a state, or in all."""
    states = parse_states(state)
    async with open_existing(location) as base:
        hints = await base.store.all(STATES)
    listed = HintList([hint for hint in hints if hint.state in states])
    return KnowledgeBaseResult(listed, base.address, hints)


async def show_hint(location: KnowledgeBaseLocation, id_prefix: str) -> KnowledgeBaseResult:
    """Show everything known about one hint."""
    async with open_existing(location) as base:
        hints = await base.store.all(STATES)
        hint = find_hint(hints, id_prefix)
        versions = await lineage(base.store, hint.hint_id)
        revisions = await base.store.revisions()
    touching = [revision for revision in revisions if hint.hint_id in revision.hint_ids]
    return KnowledgeBaseResult(HintDetails(hint, versions, touching), base.address, hints)


async def search(
    location: KnowledgeBaseLocation, text: str, limit: int, state: str, embeddings: str | None
) -> KnowledgeBaseResult:
    """Find the hints nearest to a text."""
    states = parse_states(state)
    if not text.strip():
        raise InputError("is empty; enter a text to search for", field="text")
    async with open_existing(location) as base:
        [vector] = await base.open_embed(embeddings)([text])
        found = await base.store.search(vector, limit, states)
        return KnowledgeBaseResult(FoundHints(found), base.address, await base.store.all(STATES))


async def list_revisions(location: KnowledgeBaseLocation) -> KnowledgeBaseResult:
    """List every revision."""
    async with open_existing(location) as base:
        return KnowledgeBaseResult(RevisionList(await base.store.revisions()), base.address)


async def diff(
    location: KnowledgeBaseLocation, before: int | None, after: int | None, file: Path | None
) -> KnowledgeBaseResult:
    """Compare two revisions, or the knowledge base with an exported file."""
    if (before is None) == (file is None):
        raise InputError("name a first revision, or a file with --file", field="before")
    async with open_existing(location) as base:
        if file is not None:
            differences = await since_export(base.store, file)
        else:
            differences = await between_revisions(base.store, before or 0, after)
    return KnowledgeBaseResult(differences, base.address)


async def export(
    location: KnowledgeBaseLocation, file: Path, state: str, vectors: bool, force: bool
) -> KnowledgeBaseResult:
    """Write hints to a file."""
    states = parse_states(state)
    if not force and await asyncio.to_thread(file.exists):
        raise InputError("exists already; --force replaces it", file=file)
    async with open_existing(location) as base:
        embed = base.open_embed(None) if vectors else None
        count = await export_hints(base.store, file, states, embed)
    return KnowledgeBaseResult(ExportedFile(file, count), base.address)


def parse_states(name: str) -> tuple[HintState, ...]:
    """Return the states that ``--state`` names.

    Raises:
        InputError: It is neither a state nor ``all``.
    """
    if name == "all":
        return STATES
    found = tuple(state for state in get_args(HintState) if state == name)
    if not found:
        raise InputError(f"{name!r} is none of {', '.join(STATES)}, all", field="state")
    return found


def find_hint(hints: Sequence[Hint], id_prefix: str) -> Hint:
    """Return the only hint whose id begins with what a person typed.

    Raises:
        InputError: No hint, or more than one, has such an id.
    """
    wanted = id_prefix.strip().lower()
    found = [hint for hint in hints if wanted and hint.hint_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    shown = clean_text(id_prefix, 40)
    if not found:
        raise InputError(f"there is no hint {shown!r} in this knowledge base", field="hint")
    ids = ", ".join(hint.hint_id for hint in found[:3])
    more = ", ..." if len(found) > 3 else ""
    raise InputError(f"{shown!r} matches {ids}{more}; type more of the id", field="hint")
