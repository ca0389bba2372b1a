"""The two shapes MovieLens-100K comes in: RecBole's atomic files and GroupLens' own zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data.interactions import Interaction
from agentrec.data.movie_titles import split_year
from agentrec.errors import InputError

# The order of the flags at the end of each line of u.item; the file itself does not name them.
GENRE_FLAGS = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
INTERACTION_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
ATOMIC_ITEM_COLUMNS = ("item_id", "movie_title", "release_year", "class")
GROUPLENS_ITEM_COLUMNS = ("item_id", "title", "release_date", "video_date", "url", *GENRE_FLAGS)
# The first second of the year 10000, which calendar dates end before.
END_OF_TIME = 253_402_300_800

Row = tuple[int, dict[str, str]]


def read_atomic_files(item_file: Path, interaction_file: Path) -> tuple[Catalog, list[Interaction]]:
    """Read RecBole's ``ml-100k.item`` and ``ml-100k.inter``.

    Args:
        item_file: Tab-separated, with a header of ``name:type`` fields: item_id, movie_title,
            release_year, class (genres with spaces between).
        interaction_file: The same with user_id, item_id, rating, timestamp.

    Returns:
        The catalogue and the interactions, both in file order; ratings are not used.

    Raises:
        InputError: If a file cannot be read or a line is not as it should be.
    """
    items = []
    for number, row in _atomic_rows(item_file, ATOMIC_ITEM_COLUMNS):
        # One film's year column holds the mark behind its year, and its title the year.
        title, year = split_year(row["movie_title"])
        if row["release_year"].isdecimal():
            year = int(row["release_year"])
        if title == "unkonwn":
            title = "unknown"
        items.append(_item(item_file, number, row["item_id"], title, year, row["class"].split()))
    rows = _atomic_rows(interaction_file, INTERACTION_COLUMNS)
    catalog = _catalog(items, item_file)
    return catalog, _interactions(rows, interaction_file, catalog)


def read_grouplens_zip(zip_path: Path) -> tuple[Catalog, list[Interaction]]:
    """Read ``u.item`` and ``u.data`` out of GroupLens' ``ml-100k.zip``.

    Titles, years and genres are brought to the form that RecBole's files have.

    Args:
        zip_path: The zip as GroupLens publishes it, or one with these files in any folder.

    Returns:
        The catalogue and the interactions, both in file order; ratings are not used.

    Raises:
        InputError: If the zip cannot be read, lacks a file, or a line is not as it should be.
    """
    item_text = _member(zip_path, "u.item")
    data_text = _member(zip_path, "u.data")
    item_file, data_file = zip_path / "u.item", zip_path / "u.data"
    items = []
    lines = enumerate(item_text.split("\n"), 1)
    for number, row in _rows(item_file, lines, GROUPLENS_ITEM_COLUMNS, "|"):
        title, year = split_year(row["title"])
        genres = [genre for genre in GENRE_FLAGS if row[genre] == "1"]
        items.append(_item(item_file, number, row["item_id"], title, year, genres))
    lines = enumerate(data_text.split("\n"), 1)
    rows = _rows(data_file, lines, INTERACTION_COLUMNS, "\t")
    catalog = _catalog(items, item_file)
    return catalog, _interactions(rows, data_file, catalog)


def _member(zip_path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(zip_path) as archive:
            found = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == name]
            if len(found) != 1:
                raise InputError(
                    f"holds {len(found)} files called {name}; GroupLens' ml-100k.zip holds one",
                    file=zip_path,
                )
            # GroupLens' files are older than UTF-8's spread.
            return archive.read(found[0]).decode("latin-1")
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"is not a zip that can be read ({error}); give GroupLens' ml-100k.zip", file=zip_path
        ) from error


def _atomic_rows(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as UTF-8 text ({error})", file=file) from error
    header = [field.split(":")[0] for field in lines[0].rstrip("\r").split("\t")]
    for column in columns:
        if column not in header:
            raise InputError(
                "is missing in the header, which names each column as name:type",
                file=file,
                line=1,
                field=column,
            )
    yield from _rows(file, enumerate(lines[1:], 2), header, "\t")


def _rows(
    file: Path, lines: Iterable[tuple[int, str]], columns: Sequence[str], separator: str
) -> Iterator[Row]:
    for number, raw in lines:
        line = raw.rstrip("\r")
        if not line:
            continue
        values = line.split(separator)
        if len(values) != len(columns):
            raise InputError(
                f"has {len(values)} columns instead of {len(columns)}", file=file, line=number
            )
        yield number, dict(zip(columns, values, strict=True))


def _item(
    file: Path, number: int, item_id: str, title: str, year: int | None, genres: Sequence[str]
) -> Item:
    known = tuple(genre for genre in genres if genre != "unknown")
    attributes: dict[str, AttributeValue] = {} if year is None else {"year": year}
    if known:
        attributes["genres"] = known
    try:
        return Item(item_id=item_id, title=title, attributes=attributes)
    except ValueError as error:
        raise InputError("needs an id and a visible title", file=file, line=number) from error


def _catalog(items: list[Item], file: Path) -> Catalog:
    try:
        return Catalog(items)
    except ValueError as error:
        raise InputError(str(error), file=file) from error


def _interactions(rows: Iterable[Row], file: Path, catalog: Catalog) -> list[Interaction]:
    interactions = []
    for number, row in rows:
        try:
            timestamp = int(float(row["timestamp"]))
        except (ValueError, OverflowError):
            timestamp = -1
        if not 0 <= timestamp < END_OF_TIME:
            raise InputError(
                f"{row['timestamp']!r} is not a time in seconds since 1970",
                file=file,
                line=number,
                field="timestamp",
            )
        if row["item_id"] not in catalog:
            raise InputError(
                f"{row['item_id']!r} is not in the list of films",
                file=file,
                line=number,
                field="item_id",
            )
        interactions.append(Interaction(row["user_id"], row["item_id"], timestamp))
    return interactions
