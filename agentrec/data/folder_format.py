"""Reading the neutral format: a folder of JSON lines anyone can write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data.dataset import SPLIT_NAMES, Dataset, SplitName
from agentrec.data.json_lines import read_json_lines
from agentrec.data.missing_splits import fill_missing_splits, session_file_name
from agentrec.data.negatives import Negatives, with_candidates
from agentrec.data.record_fields import PlacedRecord
from agentrec.data.session_fields import SESSION_FIELDS, SessionFields
from agentrec.errors import InputError
from agentrec.sessions import Session

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


def load_catalog(path: Path | str) -> Catalog:
    """Read a catalogue.

    Args:
        path: A file of items, one JSON object a line, or a folder that holds an ``items.jsonl``.

    Raises:
        InputError: If anything in it is not as it should be: names the file, line and field.
    """
    path = Path(path)
    return _read_catalog(path / ITEMS_FILE if path.is_dir() else path)


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
