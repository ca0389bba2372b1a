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
from agentrec.data.records import LocatedRecord, read_json_lines
from agentrec.data.session_records import SESSION_FIELDS, SessionParser
from agentrec.errors import InputError
from agentrec.sessions import Session

ITEMS_FILE = "items.jsonl"
ITEM_FIELDS = frozenset({"item_id", "title"})


def session_file_name(split: SplitName) -> str:
    """Return the name of a split's file."""
    return f"sessions.{split}.jsonl"


def load_folder(
    folder: Path | str, *, negatives: Negatives = "popularity", seed: int = 0
) -> Dataset:
    """Read a data set in the neutral format and draw candidates for sessions without.

    Args:
        folder: Holds items.jsonl and sessions.{train,valid,test}.jsonl; valid and test may be
            missing.
        negatives: How missing candidates are drawn; see ``with_candidates``.
        seed: Seed of the draw.

    Returns:
        The data set, named like the folder; its notes say what was filled in or corrected.

    Raises:
        InputError: If anything in it is wrong: names the file, line and field.
    """
    return with_candidates(read_folder(folder), negatives, seed)


def read_folder(folder: Path | str) -> Dataset:
    """Read a data set in the neutral format as it is: sessions may lack candidates.

    Args:
        folder: As for ``load_folder``.

    Returns:
        As from ``load_folder``.

    Raises:
        InputError: As from ``load_folder``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{state}; give a folder with {ITEMS_FILE}", file=folder)
    catalog = _read_catalog(folder / ITEMS_FILE)
    reader = _SessionReader(catalog)
    found: dict[SplitName, list[Session]] = {}
    for split in SPLIT_NAMES:
        file = folder / session_file_name(split)
        # Train is read even if it is missing, for the error.
        if split == "train" or file.exists():
            found[split] = reader.read(file)
    splits, cuts = fill_missing_splits(found, folder)
    return Dataset(
        name=folder.resolve().name,
        catalog=catalog,
        train=splits["train"],
        valid=splits["valid"],
        test=splits["test"],
        notes=(*reader.notes, *cuts),
    )


def load_catalog(source: Catalog | Path | str | Iterable[Item]) -> Catalog:
    """Make a catalogue of whatever holds the items.

    Args:
        source: A catalogue, which is returned as it is; a file of JSON lines with ``item_id``,
            ``title`` and any attributes, or a folder with such an ``items.jsonl``; or items.

    Raises:
        InputError: If the file cannot be read or a line is wrong: names the file, line and field.
        ValueError: If the items are none or two have one id.
    """
    if isinstance(source, Catalog):
        return source
    if isinstance(source, (str, Path)):
        file = Path(source)
        return _read_catalog(file / ITEMS_FILE if file.is_dir() else file)
    return Catalog(source)


def _read_catalog(file: Path) -> Catalog:
    items: list[Item] = []
    lines: dict[str, int] = {}
    for line, fields in read_json_lines(file):
        record = LocatedRecord(file, line, fields)
        item = _item(record)
        if item.item_id in lines:
            raise record.error(
                f"{item.item_id!r} is already the id of line {lines[item.item_id]}", "item_id"
            )
        lines[item.item_id] = line
        items.append(item)
    return Catalog(items)


def _item(record: LocatedRecord) -> Item:
    attributes: dict[str, AttributeValue] = {}
    item_id, title = record.identity("item_id"), record.text("title")
    for name in record.fields:
        if name not in ITEM_FIELDS and (value := record.attribute(name)) is not None:
            attributes[name] = value
    try:
        return Item(item_id=item_id, title=title, attributes=attributes)
    except ValueError as error:
        raise record.error("needs at least one visible character", "title") from error


@dataclass
class _SessionReader:
    """Reads the files of sessions one after the other; ids must differ across them."""

    catalog: Catalog
    notes: list[str] = field(default_factory=list)
    _seen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parser = SessionParser(
            frozenset(self.catalog), frozenset({"target"}), catalog_name=ITEMS_FILE
        )

    def read(self, file: Path) -> list[Session]:
        sessions: list[Session] = []
        with_repeats = with_seen_target = 0
        ignored: set[str] = set()
        for line, fields in read_json_lines(file):
            record = LocatedRecord(file, line, fields)
            session, repeated = self._parser.parse(record)
            session_id = session.session_id
            if session_id in self._seen:
                problem = f"{session_id!r} is already the id of {self._seen[session_id]}"
                raise record.error(problem, "session_id")
            self._seen[session_id] = f"{file.name}:{line}"
            sessions.append(session)
            with_repeats += repeated > 0
            with_seen_target += session.target in session.items
            ignored |= fields.keys() - SESSION_FIELDS
        of_all = f"of the {len(sessions)} sessions in {file.name}"
        if with_repeats:
            self.notes.append(f"{with_repeats} {of_all} repeat a candidate: repetitions dropped")
        if with_seen_target:
            self.notes.append(f"{with_seen_target} {of_all} have their target among items: kept")
        if ignored:
            self.notes.append(f"{file.name}: ignored the fields {', '.join(sorted(ignored))}")
        return sessions


def fill_missing_splits(
    found: Mapping[SplitName, list[Session]], folder: Path
) -> tuple[dict[SplitName, tuple[Session, ...]], list[str]]:
    """Cut each missing split from the end of the one before it.

    A cut takes 10 % of all sessions, at least 1, and leaves at least as many behind. Sessions are
    taken to be in time order, so that the later ones are held out.

    Args:
        found: The splits that exist, none empty, each in time order; train is among them.
        folder: Where they came from, for the error.

    Returns:
        All three splits, none empty, and a note for each cut.

    Raises:
        InputError: If there are too few sessions to cut from.
    """
    tenth = max(1, sum(len(sessions) for sessions in found.values()) // 10)
    missing_after: dict[SplitName, list[SplitName]] = {}
    for split in SPLIT_NAMES:
        if split in found:
            missing_after[split] = []
        else:
            missing_after[next(reversed(missing_after))].append(split)

    splits: dict[SplitName, tuple[Session, ...]] = {}
    notes = []
    for source, missing in missing_after.items():
        sessions = tuple(found[source])
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


def write_folder(dataset: Dataset, folder: Path | str) -> None:
    """Write a data set in the neutral format; reading it gives the same ``content_hash``.

    The folder appears under its name once every file in it is complete. Name and notes are not
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
        _write(unfinished / ITEMS_FILE, map(_item_record, dataset.catalog.values()))
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
