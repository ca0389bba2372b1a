"""What is different between two knowledge bases, or between one and itself at another time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agentrec.contracts import HintStore
from agentrec.hints import STATES, Hint
from agentrec.stores.hints.exchange import read_hints

# The id and the text are the same, or it is another hint; a version only counts changes, and a
# roll-back counts up while it changes things back.
_COMPARED = tuple(name for name in Hint.model_fields if name not in {"text", "version"})


class HintChange(BaseModel):
    """A hint that is there before and after, and not the same.

    Attributes:
        before: As it was.
        after: As it is.
        fields: Names of the fields that differ.
    """

    model_config = ConfigDict(frozen=True)

    before: Hint
    after: Hint
    fields: tuple[str, ...]


class Differences(BaseModel):
    """What it takes to get from one knowledge base to another; every hint is in one list at most.

    Attributes:
        added: Hints that are there only after, in whatever state.
        retired: Hints that were in use or nominated before and are retired after.
        changed: Other hints that are not the same.
        missing: Hints that are there only before: nothing is ever deleted, so only when looking
            back in time, or into a file that does not hold everything.
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
    """What changed from one revision to another.

    Args:
        store: The knowledge base.
        before: Number of the one; 0 is the empty knowledge base.
        after: Number of the other; ``None`` for what is there now.

    Raises:
        StoreError: If there is no such revision.
    """
    old = await store.as_of(before)
    return differences(old, await store.all(STATES) if after is None else await store.as_of(after))


async def since_export(store: HintStore, file: Path) -> Differences:
    """What changed in a knowledge base since a file was exported from it.

    Args:
        store: The knowledge base.
        file: What ``export_hints`` wrote, or anything like it.

    Raises:
        InputError: If the file cannot be used.
    """
    written = await asyncio.to_thread(read_hints, file)
    return differences([each.hint for each in written], await store.all(STATES))
