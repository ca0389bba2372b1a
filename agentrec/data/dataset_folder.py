"""The neutral format: a folder of JSON lines that anyone can write."""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data.dataset import SPLIT_NAMES, Dataset, SplitName
from agentrec.data.negatives import Negatives, with_candidates
from agentrec.data.records import PlacedRecord, read_json_lines
from agentrec.data.session_records import SESSION_FIELDS, SessionFields
from agentrec.errors import InputError
from agentrec.sessions import Session


def session_file_name(split: SplitName) -> str:
    """Give the name of the file that a split lies in."""
    return f"sessions.{split}.jsonl"


def fill_missing_splits(
    given: Mapping[SplitName, list[Session]], folder: Path
) -> tuple[dict[SplitName, tuple[Session, ...]], list[str]]:
    """Cut each split that is missing from the end of the one before it.

    A cut takes 10 % of all sessions there are, at least 1, and leaves at least as many behind.
    Sessions are taken to be in time order, so that the later ones are held out.

    Args:
        given: The splits there are, none empty, each in time order; train is among them.
        folder: Where they came from, for the error.

    Returns:
        All three splits, none empty, and a note for each cut.

    Raises:
        InputError: If there are too few sessions to cut from.
    """
    tenth = max(1, sum(len(sessions) for sessions in given.values()) // 10)
    runs: list[tuple[SplitName, list[SplitName]]] = []
    for split in SPLIT_NAMES:
        if split in given:
            runs.append((split, []))
        else:
            runs[-1][1].append(split)

    splits: dict[SplitName, tuple[Session, ...]] = {}
    notes = []
    for source, missing in runs:
        sessions = tuple(given[source])
        size = min(tenth, len(sessions) // (len(missing) + 1))
        if size < 1:
            raise InputError(
                f"is missing, and {session_file_name(source)} has too few sessions "
                f"({len(sessions)}) to cut it from",
                file=folder / session_file_name(missing[0]),
            )
        end = len(sessions) - size * len(missing)
        splits[source] = sessions[:end]
        for split in missing:
            splits[split] = sessions[end : end + size]
            end += size
            notes.append(
                f"no {session_file_name(split)}: cut {size} of the {len(sessions)} sessions "
                f"from the end of {source}"
            )
    return splits, notes


ITEMS_FILE = "items.jsonl"
ITEM_FIELDS = frozenset({"item_id", "title"})


def load_folder(
    folder: Path | str, *, negatives: Negatives = "popularity", seed: int = 0
) -> Dataset:
    """Read a data set in the neutral format and give candidates to sessions without.

    Args:
        folder: Holds items.jsonl and sessions.{train,valid,test}.jsonl; valid and test may be
            missing.
        negatives: How candidates are drawn where there are none; see ``with_candidates``.
        seed: Seed of that drawing.

    Returns:
        The data set, named like the folder; its notes say what was filled in or put right.

    Raises:
        InputError: If anything in it is not as it should be: names the file, line and field.
    """
    return with_candidates(read_folder(folder), negatives, seed)


def read_folder(folder: Path | str) -> Dataset:
    """Read a data set in the neutral format as it is: sessions may lack candidates.

    Args:
        folder: As for ``load_folder``.

    Returns:
        The data set, named like the folder; its notes say what was filled in or put right.

    Raises:
        InputError: If anything in it is not as it should be: names the file, line and field.
    """
    folder = Path(folder)
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{state}; give a folder with {ITEMS_FILE}", file=folder)
    catalog = _read_catalog(folder / ITEMS_FILE)
    reader = _SessionReader(catalog)
    given: dict[SplitName, list[Session]] = {}
    for split in SPLIT_NAMES:
        file = folder / session_file_name(split)
        # Train is read even if it is not there, for the error.
        if split == "train" or file.exists():
            given[split] = reader.read(file)
    splits, cuts = fill_missing_splits(given, folder)
    return Dataset(
        name=folder.resolve().name,
        catalog=catalog,
        train=splits["train"],
        valid=splits["valid"],
        test=splits["test"],
        notes=(*reader.notes, *cuts),
    )


def _read_catalog(file: Path) -> Catalog:
    items: list[Item] = []
    lines: dict[str, int] = {}
    for line, fields in read_json_lines(file):
        record = PlacedRecord(file, line, fields)
        item = _item(record)
        if item.item_id in lines:
            raise record.fault(
                f"{item.item_id!r} is already the id of line {lines[item.item_id]}", "item_id"
            )
        lines[item.item_id] = line
        items.append(item)
    return Catalog(items)


def _item(record: PlacedRecord) -> Item:
    attributes: dict[str, AttributeValue] = {}
    item_id, title = record.identity("item_id"), record.text("title")
    for name in record.fields:
        if name not in ITEM_FIELDS and (value := record.attribute(name)) is not None:
            attributes[name] = value
    try:
        return Item(item_id=item_id, title=title, attributes=attributes)
    except ValueError as error:
        raise record.fault("needs at least one visible character", "title") from error


@dataclass
class _SessionReader:
    """Reads the files of sessions one after the other; ids must differ across them."""

    catalog: Catalog
    notes: list[str] = field(default_factory=list)
    _places: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fields = SessionFields(frozenset(self.catalog))

    def read(self, file: Path) -> list[Session]:
        sessions: list[Session] = []
        repeats = seen_targets = 0
        ignored: set[str] = set()
        for line, fields in read_json_lines(file):
            record = PlacedRecord(file, line, fields)
            session, dropped = self._fields.read(record)
            if session.session_id in self._places:
                raise record.fault(
                    f"{session.session_id!r} is already the id of "
                    f"{self._places[session.session_id]}",
                    "session_id",
                )
            self._places[session.session_id] = f"{file.name}:{line}"
            sessions.append(session)
            repeats += dropped > 0
            seen_targets += session.target in session.items
            ignored |= fields.keys() - SESSION_FIELDS
        of_all = f"of the {len(sessions)} sessions in {file.name}"
        if repeats:
            self.notes.append(f"{repeats} {of_all} repeat a candidate: dropped the repetitions")
        if seen_targets:
            self.notes.append(f"{seen_targets} {of_all} have their target among items: kept")
        if ignored:
            self.notes.append(f"{file.name}: ignored the fields {', '.join(sorted(ignored))}")
        return sessions


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
        _write(
            unfinished / ITEMS_FILE,
            (_item_record(item) for item in dataset.catalog.values()),
        )
        for split, sessions in dataset.splits():
            _write(unfinished / session_file_name(split), map(_session_record, sessions))
        unfinished.rename(folder)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=folder) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(file: Path, records: Iterable[Mapping[str, object]]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _item_record(item: Item) -> Mapping[str, object]:
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


def _session_record(session: Session) -> Mapping[str, object]:
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
