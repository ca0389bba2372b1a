"""Writing the neutral format, all of it or nothing."""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from agentrec.catalog import Item
from agentrec.data.dataset import Dataset
from agentrec.data.folder_format import ITEM_FIELDS, ITEMS_FILE
from agentrec.data.missing_splits import session_file_name
from agentrec.errors import InputError
from agentrec.sessions import Session


def write_folder(dataset: Dataset, folder: Path | str) -> None:
    """Write a data set in the neutral format; reading it gives the same ``content_hash``.

    The folder appears under its name once every file in it is whole. Name and notes are not
    written.

    Args:
        dataset: What to write.
        folder: Must not exist; missing parents are made.

    Raises:
        InputError: If the folder exists or cannot be written, or an item has an attribute that
            the format cannot hold.
    """
    folder = Path(folder)
    if folder.exists() or folder.is_symlink():
        raise InputError("exists already; name a new folder", file=folder)
    unfinished = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        unfinished.mkdir(parents=True)
        _write(unfinished / ITEMS_FILE, (_item(item) for item in dataset.catalog.values()))
        for split, sessions in dataset.splits():
            _write(unfinished / session_file_name(split), map(_session, sessions))
        unfinished.rename(folder)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=folder) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(file: Path, records: Iterable[Mapping[str, object]]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _item(item: Item) -> Mapping[str, object]:
    for name, value in item.attributes.items():
        if name in ITEM_FIELDS:
            raise InputError(
                f"item {item.item_id!r} has an attribute with the name of a field; rename it",
                field=name,
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                f"item {item.item_id!r} has the value {value}; JSON needs a finite number",
                field=name,
            )
    return {"item_id": item.item_id, "title": item.title, **item.attributes}


def _session(session: Session) -> Mapping[str, object]:
    record: dict[str, object] = {
        "session_id": session.session_id,
        "items": session.items,
        "target": session.target,
    }
    if session.candidates:
        record["candidates"] = session.candidates
    if session.user_id is not None:
        record["user_id"] = session.user_id
    return record
