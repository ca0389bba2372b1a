"""How a hint with all its versions is kept as one point of a Qdrant."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agentrec.hints import Hint
from agentrec.stores.folder_check import damaged
from agentrec.stores.hint_history import HintVersion

_POINT_NAMESPACE = uuid.UUID("6f1b3f0e-52a1-5c0a-9d8e-2f6f3a6b7c11")

# What is told of a hint that was stored when a point held nothing but the hint.
_BEFORE_REVISIONS = (1, datetime.fromtimestamp(0, UTC), "added before revisions were kept")


def point_id(hint_id: str) -> str:
    """The id of a hint's point, made from the hint's."""
    return str(uuid.uuid5(_POINT_NAMESPACE, hint_id))


def payload_of(versions: Sequence[HintVersion], number: int) -> dict[str, Any]:
    """What a point holds beside its vector.

    Args:
        versions: Every version of the hint, the first one first; at least one.
        number: Its place in the order of adding.
    """
    *earlier, last = versions
    return {
        **_packed(last),
        "number": number,
        "state": last.hint.state,
        "history": [_packed(version) for version in earlier],
    }


def hint_of(payload: Mapping[str, Any] | None, address: object) -> Hint:
    """The hint of a point as it is now.

    Args:
        payload: What the point holds.
        address: Where the knowledge base is, for the text of a failure.

    Raises:
        StoreError: If it is no hint.
    """
    try:
        return _hint((payload or {})["hint"])
    except (KeyError, ValueError) as error:
        raise damaged(address, f"a stored hint is incomplete: {error!r}") from error


def versions_of(payload: Mapping[str, Any] | None, address: object) -> list[HintVersion]:
    """Every version of a point's hint, the first one first.

    Raises:
        StoreError: If it is no hint.
    """
    stored = payload or {}
    try:
        return [_unpacked(each) for each in (*stored.get("history", ()), stored)]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(address, f"a stored hint is incomplete: {error!r}") from error


def number_of(payload: Mapping[str, Any] | None, address: object) -> int:
    """A point's place in the order of adding.

    Raises:
        StoreError: If it has none.
    """
    number = (payload or {}).get("number")
    if not isinstance(number, int):
        raise damaged(address, "a stored hint has no number")
    return number


def _packed(version: HintVersion) -> dict[str, Any]:
    return {
        # As ASCII text: a server takes no half characters, and models cut their answers anywhere.
        "hint": json.dumps(version.hint.model_dump()),
        "revision": version.revision,
        "at": version.at.isoformat(),
        "note": version.note,
    }


def _unpacked(packed: Mapping[str, Any]) -> HintVersion:
    hint = _hint(packed["hint"])
    if "revision" not in packed:
        return HintVersion(*_BEFORE_REVISIONS, hint)
    return HintVersion(
        int(packed["revision"]), datetime.fromisoformat(packed["at"]), str(packed["note"]), hint
    )


def _hint(stored: object) -> Hint:
    # Before revisions were kept a hint was stored as an object, not as text.
    return Hint.model_validate(json.loads(stored) if isinstance(stored, str) else stored)
