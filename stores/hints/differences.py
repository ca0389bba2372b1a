"""Differences between two knowledge bases, or between two revisions of one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agentrec.contracts import HintStore
from agentrec.hints import STATES, Hint
from agentrec.stores.hints.exchange import read_hints

# Hints are matched by id, so their texts are equal; a version only counts changes, and a roll-back
# counts up while it undoes them.
_COMPARED = tuple(name for name in Hint.model_fields if name not in {"text", "version"})


class HintChange(BaseModel):
    """A hint that exists before and after, and differs.

    Attributes:
        before: The hint before.
        after: The hint after.
        fields: Names of the fields that differ.
    """

    model_config = ConfigDict(frozen=True)

    before: Hint
    after: Hint
    fields: tuple[str, ...]


class Differences(BaseModel):
    """The differences between two knowledge bases; every hint is in one list at most.

    Attributes:
        added: Hints that exist only after, in any state.
        retired: Hints that were admitted or nominated before and are retired after.
        changed: Other hints that differ.
        missing: Hints that exist only before. Nothing is ever deleted, so this happens only when
            the later revision comes first, or with a file that does not hold everything.
    """

    model_config = ConfigDict(frozen=True)

    added: tuple[Hint, ...] = ()
    retired: tuple[HintChange, ...] = ()
    changed: tuple[HintChange, ...] = ()
    missing: tuple[Hint, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.added or self.retired or self.changed or self.missing)


def differences(before: Sequence[Hint], after: Sequence[Hint]) -> Differences:
    """Compare two states of a knowledge base, hint by hint; versions do not count.

    Args:
        before: All hints of the one, each id once.
        after: All hints of the other, each id once.
    """
    old = {hint.hint_id: hint for hint in before}
    new = {hint.hint_id: hint for hint in after}
    retired: list[HintChange] = []
    changed: list[HintChange] = []
    for hint_id, was in old.items():
        now = new.get(hint_id)
        if now is None:
            continue
        fields = tuple(name for name in _COMPARED if getattr(was, name) != getattr(now, name))
        if not fields:
            continue
        change = HintChange(before=was, after=now, fields=fields)
        ended = "state" in fields and now.state == "retired"
        (retired if ended else changed).append(change)
    return Differences(
        added=tuple(hint for hint_id, hint in new.items() if hint_id not in old),
        retired=tuple(retired),
        changed=tuple(changed),
        missing=tuple(hint for hint_id, hint in old.items() if hint_id not in new),
    )


async def between_revisions(store: HintStore, before: int, after: int | None = None) -> Differences:
    """Compare two revisions.

    Args:
        store: The knowledge base.
        before: Number of the first; 0 is the empty knowledge base.
        after: Number of the second; ``None`` for the current state.

    Raises:
        StoreError: If there is no such revision.
    """
    old = await store.as_of(before)
    return differences(old, await store.all(STATES) if after is None else await store.as_of(after))


async def since_export(store: HintStore, file: Path) -> Differences:
    """Compare a knowledge base with a file that was exported from it.

    Args:
        store: The knowledge base.
        file: A file by ``export_hints``, or one like it.

    Raises:
        InputError: If the file cannot be used.
    """
    written = await asyncio.to_thread(read_hints, file)
    return differences([each.hint for each in written], await store.all(STATES))
