import json
from pathlib import Path

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.errors import InputError
from agentrec.evaluation.metrics import ndcg
from agentrec.evaluation.stored_answers import grade_stored_answers, read_stored_answers
from agentrec.sessions import Session

# Two of one title, an article in either place, an accent, and a title within another.
TITLES = ["Heat", "Heat", "Heathers", "Postman, The", "Amélie", "Alien", "Brazil", "The Birds"]
CATALOG = Catalog(
    Item(item_id=f"i{n}", title=title, attributes={"year": 1980 + n})
    for n, title in enumerate(TITLES)
)


def session(number: int, target: int, candidates: str) -> Session:
    ids = tuple(f"i{n}" for n in candidates)
    return Session(session_id=f"s{number}", items=("i5",), target=f"i{target}", candidates=ids)


SESSIONS = [
    session(0, 1, "1234567"),  # Only one of the two Heats is there: its bare title will do.
    session(1, 0, "0123456"),  # Both are: it will not.
    session(2, 3, "4563271"),
    session(3, 7, "7123456"),
    session(4, 2, "1234567"),
]
ANSWERS = {
    "s0": "Sure!\n1. Heathers\n2. Heat\n3. Alien",
    "s1": "1. Heat\n2. Amelie",
    "s2": "1. The Postman\n2. The Postman\n3. Shrek\n4. Alien",
    "s3": '{"ranking": ["Alien", "Brazil", "Birds, The"]}',
    "elsewhere": "1. Heat",
}


def test_graded_by_hand() -> None:
    found = grade_stored_answers(SESSIONS, CATALOG, ANSWERS, bins=[(1, 2), (3, 7)])
    assert (found.sessions, found.unanswered, found.unknown) == (4, 1, 1)
    # Ranks 2, none, 1 and 3.
    assert found.hr.mean == pytest.approx(3 / 4)
    assert found.ndcg.mean == pytest.approx((ndcg(2) + 1 + ndcg(3)) / 4)
    assert (found.named, found.illegal, found.incomplete) == (3 + 1 + 2 + 3, 1 + 2, 4)
    # Targets at places 1, 1, 4 and 1 of the stored order.
    assert [(each.sessions, each.hits) for each in found.position_bias.bins] == [(3, 2), (1, 1)]
    assert any(line.startswith("HR@10 0.750 [") for line in found.lines())
    assert "illegal: 3 of 12 lines; 4 answers fall short" in found.lines()


def test_other_texts_may_have_been_shown() -> None:
    both = {"s1": "1. Heat (1980)"}
    bare = grade_stored_answers(SESSIONS, CATALOG, both)
    labels = grade_stored_answers(SESSIONS, CATALOG, both, shown=CATALOG.labels)
    assert (bare.hr.mean, bare.illegal) == (0.0, 1)
    assert (labels.hr.mean, labels.illegal) == (1.0, 0)


def test_what_is_named_behind_the_tenth_place_is_no_hit() -> None:
    items = [Item(item_id=str(n), title=f"Thing {n}") for n in range(12)]
    ids = tuple(item.item_id for item in items)
    one = Session(session_id="s", items=("0",), target="11", candidates=ids)
    answer = "\n".join(f"{n}. Thing {n - 1}" for n in range(1, 13))
    found = grade_stored_answers([one], Catalog(items), {"s": answer})
    assert (found.hr.mean, found.ndcg.mean, found.incomplete) == (0.0, 0.0, 0)


def test_no_answer_to_any_session_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of the answers"):
        grade_stored_answers(SESSIONS, CATALOG, {"elsewhere": "1. Heat"})


def written(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_file_of_answers_is_read(tmp_path: Path) -> None:
    rows = [{"session_id": key, "raw": raw, "model": "x"} for key, raw in ANSWERS.items()]
    odd = {"session_id": 7, "raw": "\ud83d"}
    assert read_stored_answers(written(tmp_path, *rows, odd)) == {**ANSWERS, "7": "\ud83d"}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"session_id": "s1"}, "raw"),
        ({"raw": "x"}, "session_id"),
        ({"session_id": "s1", "raw": ["x"]}, "raw"),
        ({"session_id": "s0", "raw": "again"}, "session_id"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: object, field: str) -> None:
    file = written(tmp_path, {"session_id": "s0", "raw": "1. Heat"}, row)
    with pytest.raises(InputError) as caught:
        read_stored_answers(file)
    assert (caught.value.file, caught.value.line, caught.value.field) == (file, 2, field)
