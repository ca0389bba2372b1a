import random
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentrec.catalog import Catalog, Item
from agentrec.llm.answers.parsing import parse_lines, parse_ranking
from agentrec.llm.prompts.session_view import SessionView, as_data, handle


def view_of(*labels: str) -> SessionView:
    """Candidates in the given order, under the ids i1, i2, ..."""
    ids = tuple(f"i{n}" for n in range(1, len(labels) + 1))
    return SessionView("s", (), ids, labels)


TEN = view_of(*(f"Film {letter}" for letter in "ABCDEFGHIJ"))
NAMED = view_of(
    "Heathers", "Mr. Holland's Opus (1995)", "Postman, The (1994)", "Amélie", "M*A*S*H", "2001"
)


@pytest.mark.parametrize(
    "line",
    [
        "1. C07 | Film G",
        "1) [C07] Film G",
        "(1) C07",
        "1: C07 - Film G",
        "1 - C07 | Film G",
        "1.C07",
        "1 C07 | Film G",
        "#1. C07",
        "| 1 | C07 | Film G |",
        "C07",
        "  c7 Film G",
        "C007",
        "**C07** | Film G",
        "- C07: Film G",
        "- **C07** Film G",
        "* C07",
        "• `C07` Film G",
        "**1.** C07 | Film G",
        "**1. C07 | Film G**",
        "- 1. (C07) Film G",
        '1. "C07"',
        "\t1.\u00a0C07\u2003|\u3000Film G",
        "12. C07 | a title that is not the candidate's",
        "1. Film G",
        "1. **Film G**",
        "2) film g.",
        '3. "Film G"',
        "5. Film G (1999)",
        "6. ＦＩＬＭ Ｇ",
    ],
)
def test_many_ways_to_name_the_seventh(line: str) -> None:
    parsed = parse_ranking(line, TEN)
    assert (parsed.item_ids, parsed.illegal) == (("i7",), 0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "# Ranking",
        "## 1. My list",
        "Here are my 10 picks:",
        "Film G",
        "- Film G",
        "C is a language, and C-3PO a robot; C3PO too",
        "1.5 hours would be too long",
        "2001: A Space Odyssey",
        "| Rank | Title |",
        "|---|---|",
    ],
)
def test_lines_that_name_nothing_are_ignored(line: str) -> None:
    parsed = parse_ranking(line, TEN)
    assert (parsed.item_ids, parsed.illegal) == ((), 0)


@pytest.mark.parametrize(
    "line",
    [
        "1. C00",
        "1. C11 | Film A",
        "C999999",
        "1. Film",
        "1. Film G and H",
        "1.",
    ],
)
def test_a_numbered_line_without_a_candidate_is_illegal(line: str) -> None:
    parsed = parse_ranking(line, TEN)
    assert (parsed.item_ids, parsed.illegal) == ((), 1)


def test_a_repeated_candidate_is_illegal_and_keeps_its_first_position() -> None:
    parsed = parse_ranking("1. C02\n2. C01\n3. Film B\n4. C2 | Film C\n5. C03", TEN)
    assert (parsed.item_ids, parsed.illegal) == (("i2", "i1", "i3"), 2)


def test_a_handle_decides_against_the_title_behind_it() -> None:
    assert parse_ranking("1. C01 | Film B", TEN).item_ids == ("i1",)


def test_part_of_a_label_is_not_the_label() -> None:
    for text in ("Heat", "Heathers II", "The Heathers", "Opus", "2001: A Space Odyssey"):
        assert parse_ranking(f"1. {text}", NAMED).item_ids == ()
    both = view_of("Heathers", "Heat")
    assert parse_ranking("1. Heat\n2. Heathers", both).item_ids == ("i2", "i1")


@pytest.mark.parametrize(
    ("text", "item_id"),
    [
        ("Mr. Holland's Opus (1995)", "i2"),
        ("Mr Holland’s Opus", "i2"),
        ("mr. hollands opus", None),
        ("Mr. Holland’s Opus", "i2"),
        ("**Mr. Holland's Opus (1995)**", "i2"),
        ("The Postman (1994)", "i3"),
        ("Postman, The", "i3"),
        ("Postman", None),
        ("Amelie", "i4"),
        (unicodedata.normalize("NFD", "AMÉLIE"), "i4"),
        ("M*A*S*H", "i5"),
        ("2001", "i6"),
    ],
)
def test_titles_without_handles(text: str, item_id: str | None) -> None:
    expected = () if item_id is None else (item_id,)
    assert parse_ranking(f"1. {text}", NAMED).item_ids == expected


def test_one_label_for_several_is_never_guessed() -> None:
    films = view_of("Heat (1995)", "Heat (1986)", "heat!", "HEAT?", "Solo")
    answer = "1. Heat\n2. HEAT (1986)\n3. Heat (1972)\n4. Solo (2018)\n5. heat!\n6. “Heat”"
    parsed = parse_ranking(answer, films)
    assert parsed.item_ids == ("i2", "i5", "i3")
    assert parsed.illegal == 3


def test_a_label_without_a_letter_can_be_named_as_it_is_shown() -> None:
    signs = view_of("???", "!!!", "<3")
    assert parse_ranking("1. !!!\n2. ???\n3. ‹3\n4. ...", signs).item_ids == ("i2", "i1", "i3")


def test_vowel_signs_tell_titles_apart() -> None:
    hindi = view_of("किल", "कल", "か", "が")
    assert parse_ranking("1. कल\n2. が\n3. कुल", hindi).item_ids == ("i2", "i4")


def test_more_than_a_hundred_candidates() -> None:
    labels = [f"Title {n}" for n in range(1, 131)]
    view = view_of(*labels)
    order = random.Random(0).sample(range(130), 130)
    by_handle = "\n".join(f"{n}. {handle(i)} | x" for n, i in enumerate(order, 1))
    by_title = "\n".join(f"{n}. {labels[i]}" for n, i in enumerate(order, 1))
    for answer in (by_handle, by_title):
        parsed = parse_ranking(answer, view)
        assert parsed.item_ids == tuple(f"i{i + 1}" for i in order)
        assert parsed.illegal == 0
    assert parse_ranking("1. C100\n2. C10\n3. C131", view).item_ids == ("i100", "i10")


GPT_STYLE = """Based on the user's interest in 90s dramas, here are my recommendations:

1. Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1963)
2. E.T. the Extra-Terrestrial (1982)
3. **Mr. Smith Goes to Washington** (1939)
4. Monty Python and the Holy Grail (1974)
5. The Silence of the Lambs (1991)
6. Star Wars: Episode IV – A New Hope (1977)
7. “One Flew Over the Cuckoo’s Nest” (1975)
8. Les Misérables (1995)
9. 12 Angry Men (1957)
10. 2001: A Space Odyssey (1968)
11. Pulp Fiction (1994)

These picks balance classics with the user's recent choices. 3 of them won an Oscar."""


def test_a_list_of_titles_as_large_models_write_it() -> None:
    view = view_of(
        "12 Angry Men",
        "2001: A Space Odyssey",
        "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb",
        "E.T. the Extra-Terrestrial",
        "Les Miserables",
        "Monty Python and the Holy Grail",
        "Mr. Smith Goes to Washington",
        "One Flew Over the Cuckoo's Nest",
        "Silence of the Lambs, The",
        "Star Wars: Episode IV - A New Hope",
    )
    parsed = parse_ranking(GPT_STYLE, view)
    assert parsed.item_ids == tuple(f"i{n}" for n in (3, 4, 7, 6, 9, 10, 8, 5, 1, 2))
    assert parsed.illegal == 1


def test_every_label_of_a_catalogue_names_its_item() -> None:
    titles = ["Heat", "Heat", "Heat (1995)", "heat", "Heat #2", "<b>", "C03", "1. C01", "A, The"]
    catalog = Catalog(
        Item(item_id=f"x{n}", title=title, attributes={"year": 1995})
        for n, title in enumerate(titles)
    )
    view = SessionView("s", (), catalog.item_ids, tuple(catalog.labels.values()))
    for item_id, label in catalog.labels.items():
        if not label.startswith(("C03", "1. C01")):
            assert parse_ranking(f"1. {as_data(label)}", view).item_ids == (item_id,)


@pytest.mark.parametrize(
    "garbage",
    [
        "x" + " " * 100_000 + "x",
        "1. x" + " " * 100_000 + "(1995",
        "1." * 50_000,
        "(" * 100_000,
        "**" * 50_000,
        "1. " + "a" * 100_000,
        "1. " + "(1995)" * 16_000,
        "1. " + ", the" * 20_000,
        "1" + " " * 100_000 + "x",
        "C" + "0" * 100_000,
        "C01\n" * 25_000,
        "1. no such film\n" * 6_000,
        "\n" * 100_000,
        "1. " + "e\u0301\u200b" * 33_000,
    ],
    ids=range(14),
)
def test_a_hundred_kilobytes_of_garbage_take_no_time(garbage: str) -> None:
    start = time.thread_time()
    parsed = parse_ranking(garbage, TEN)
    parse_lines(garbage, 5)
    # Of computing, not of waiting: a busy machine has no say in it.
    assert time.thread_time() - start < 1.5
    assert len(parsed.item_ids) <= 1


@given(
    st.lists(
        st.one_of(
            st.from_regex(r"\A[-*# ]{0,2}[0-9]{0,2}[.) ]{0,2}\[?C[0-9]{1,3}.{0,5}\Z"),
            st.sampled_from(["1. Film A", "2. Film B (1990)", "C01", "3. film a", "4. Heat"]),
            st.text(max_size=20),
        ),
        max_size=12,
    ).map("\n".join)
)
@example("1. C01\n1. C01\n1. Film A")
def test_whatever_is_answered_the_result_is_unique_candidates(answer: str) -> None:
    parsed = parse_ranking(answer, TEN)
    assert len(set(parsed.item_ids)) == len(parsed.item_ids)
    assert set(parsed.item_ids) <= set(TEN.candidate_ids)
    assert 0 <= parsed.illegal <= len(answer.splitlines()) - len(parsed.item_ids)


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ("1. Prefer old films.\n2) Avoid sequels.", ["Prefer old films.", "Avoid sequels."]),
        ("Here they are:\n\n- One\n* Two\n• Three\n\nGood luck!", ["One", "Two", "Three"]),
        ("(1) One\n**2.** Two\n- 3. Three", ["One", "Two", "Three"]),
        ("Prefer old films.\n\nAvoid sequels.", ["Prefer old films.", "Avoid sequels."]),
        ("One sentence only.", ["One sentence only."]),
        ("1. One\n2. one\n3. ONE\n4. Two", ["One", "Two"]),
        ('1. "Prefer old films."\n2. **Avoid sequels.**', ["Prefer old films.", "Avoid sequels."]),
        ("1. Prefer 'noir'\n2. Users' taste", ["Prefer 'noir'", "Users' taste"]),
        ("1. **Be bold**: weigh `age`", ["Be bold: weigh age"]),
        ("**Prefer** old films.\n*Avoid* sequels.", ["Prefer old films.", "Avoid sequels."]),
        ("1. 1990s films first", ["1990s films first"]),
        ("2.5 stars are too few", ["2.5 stars are too few"]),
        ("1.\n2.   \n-", []),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_lines(answer: str, texts: list[str]) -> None:
    assert parse_lines(answer, 9) == texts


def test_no_more_lines_than_asked_for() -> None:
    answer = "\n".join(f"{n}. Hint {n}" for n in range(1, 10))
    assert parse_lines(answer, 3) == ["Hint 1", "Hint 2", "Hint 3"]
    assert parse_lines(answer, 0) == []


@given(st.text(max_size=200), st.integers(0, 5))
def test_lines_are_single_unique_and_never_empty(answer: str, limit: int) -> None:
    texts = parse_lines(answer, limit)
    assert len(texts) <= limit
    assert len({text.casefold() for text in texts}) == len(texts)
    assert all(text.strip() and len(text.splitlines()) == 1 for text in texts)
