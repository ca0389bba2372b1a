"""Retire, admit, merge and edit stored hints, and trace the versions of one.

Plain functions over any ``HintStore``. Each makes a revision, so it can be rolled back, and each
may be repeated, so killing a process in the middle of one does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from agentrec.catalog import clean_text
from agentrec.contracts import HintStore
from agentrec.errors import InputError
from agentrec.hints import MAX_HINT_LENGTH, STATES, Hint, HintState

Embed = Callable[[list[str]], Awaitable[Sequence[Sequence[float]]]]
"""Makes vectors of texts; ``Embeddings.aembed_documents`` is one."""

MAX_REASON_LENGTH = 300

_HANDLE = re.compile(r"\bC\d{2,4}\b", re.IGNORECASE)
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def text_fault(text: str) -> str | None:
    """Say why a text cannot be a hint, in any catalogue; ``None`` if it can."""
    if _LETTER_OR_DIGIT.search(text) is None:
        return "has no letter or digit"
    if len(text) > MAX_HINT_LENGTH:
        return f"has {len(text)} characters; a hint has {MAX_HINT_LENGTH} at most"
    if _HANDLE.search(text) is not None:
        # A handle means whichever item has that position in a prompt.
        return "names a candidate's handle, such as C01"
    return None


async def retire(store: HintStore, hint_ids: Sequence[str], reason: str) -> int | None:
    """Take hints out of use, and keep what is known about them.

    Args:
        store: The knowledge base.
        hint_ids: Which hints.
        reason: Why, in a few words.

    Returns:
        The number of the revision; ``None`` if all of them were retired already.

    Raises:
        InputError: If an id is not stored; then nothing is changed.
    """
    return await _put(store, hint_ids, "retired", reason)


async def admit(store: HintStore, hint_ids: Sequence[str], reason: str) -> int | None:
    """Put nominated or retired hints into use; a merged hint is separate again.

    Args:
        store: The knowledge base.
        hint_ids: Which hints.
        reason: Why, in a few words.

    Returns:
        The number of the revision; ``None`` if all of them were admitted already.

    Raises:
        InputError: If an id is not stored; then nothing is changed.
    """
    return await _put(store, hint_ids, "admitted", reason)


async def merge(
    store: HintStore, kept: str, dropped: Sequence[str], reason: str = ""
) -> int | None:
    """Let one hint stand for others that say the same, and retire these.

    Args:
        store: The knowledge base.
        kept: Id of the hint that stays as it is.
        dropped: Ids of those it stands for from now on.
        reason: Why, in a few words.

    Returns:
        The number of the revision; ``None`` if all of them were merged into it already.

    Raises:
        InputError: If an id is not stored, a hint would be merged with itself, or the one to be
            kept is retired; then nothing is changed.
    """
    if kept in dropped:
        raise InputError(f"hint {kept} cannot be merged with itself")
    target = await _stored(store, kept)
    if target.state == "retired":
        raise InputError(f"hint {kept} is retired and cannot stand for others; admit it first")
    changed = [
        hint.model_copy(
            update={"state": "retired", "merged_into": kept, "reason": _line(reason) or "merged"}
        )
        for hint in [await _stored(store, hint_id) for hint_id in dict.fromkeys(dropped)]
        if (hint.state, hint.merged_into) != ("retired", kept)
    ]
    return await _change(store, changed, f"merged into {kept}", reason)


async def edit(store: HintStore, hint_id: str, text: str, embed: Embed) -> Hint:
    """Reword a hint: store a new one with the same state and source, and retire the old one.

    The evidence was measured with the old text, so the new hint has none. The new hint is stored
    first: after an interruption, repeating the call completes the edit.

    Args:
        store: The knowledge base.
        hint_id: The hint to replace.
        text: The new text.
        embed: Makes its vector; not called if the new hint is there already.

    Returns:
        The new hint as it is stored.

    Raises:
        InputError: If the id is not stored or retired, or the text is no hint, the same as
            before or that of another hint.
    """
    old = await _stored(store, hint_id)
    fault = text_fault(text)
    if fault is not None:
        raise InputError(fault, field="text")
    new = Hint(
        text=text,
        namespace=old.namespace,
        state=old.state,
        provenance=old.provenance,
        replaces=hint_id,
        reason=f"edited from {hint_id}",
    )
    if new.hint_id == hint_id:
        raise InputError(f"hint {hint_id} says that already (upper and lower case do not count)")
    there = await store.get(new.hint_id)
    if there is not None and there.replaces != hint_id:
        raise InputError(
            f"hint {there.hint_id}, {there.state}, says that already; retire {hint_id}"
            " or merge it into that one instead"
        )
    if old.state == "retired":
        if there is not None:
            return there
        raise InputError(f"hint {hint_id} is retired; admit it before you edit it")
    if there is None:
        await store.add_many([new], await embed([new.text]), note=f"edited from {hint_id}")
    changed = [old.model_copy(update={"state": "retired", "reason": f"edited into {new.hint_id}"})]
    if there is not None and there.state == "retired":
        # An earlier edit was rolled back: the new hint is used again instead of the old one.
        changed.append(there.model_copy(update={"state": old.state, "reason": new.reason}))
    await _change(store, changed, f"edited into {new.hint_id}", "")
    return await _stored(store, new.hint_id)


async def lineage(store: HintStore, hint_id: str) -> list[Hint]:
    """Return all versions of a hint: everything linked to it by edits and merges.

    Args:
        store: The knowledge base.
        hint_id: Any of the versions.

    Returns:
        The versions, in the order of adding, this one among them.

    Raises:
        InputError: If the id is not stored.
    """
    await _stored(store, hint_id)
    hints = await store.all(STATES)
    joined: dict[str, set[str]] = {hint.hint_id: set() for hint in hints}
    for hint in hints:
        for other in (hint.replaces, hint.merged_into):
            if other in joined:
                joined[hint.hint_id].add(other)
                joined[other].add(hint.hint_id)
    found, open_ids = {hint_id}, [hint_id]
    while open_ids:
        new = joined[open_ids.pop()] - found
        found |= new
        open_ids += new
    return [hint for hint in hints if hint.hint_id in found]


async def _put(
    store: HintStore, hint_ids: Sequence[str], state: HintState, reason: str
) -> int | None:
    changed = [
        hint.model_copy(update={"state": state, "merged_into": None, "reason": _line(reason)})
        for hint in [await _stored(store, hint_id) for hint_id in dict.fromkeys(hint_ids)]
        if hint.state != state
    ]
    return await _change(store, changed, state, reason)


async def _change(store: HintStore, hints: Sequence[Hint], done: str, reason: str) -> int | None:
    if not hints:
        return None
    return await store.change(hints, f"{done}: {_line(reason)}" if _line(reason) else done)


async def _stored(store: HintStore, hint_id: str) -> Hint:
    hint = await store.get(hint_id)
    if hint is None:
        shown = clean_text(hint_id, 40)
        raise InputError(f"there is no hint {shown!r} in this knowledge base", field="hint_id")
    return hint


def _line(reason: str) -> str:
    return clean_text(reason, MAX_REASON_LENGTH)
