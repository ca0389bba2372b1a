import unicodedata
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentrec.catalog import MAX_TITLE_LENGTH, AttributeValue, Catalog, Item, clean_text


def catalog_of(*rows: tuple[str, Mapping[str, AttributeValue]]) -> Catalog:
    return Catalog(
        Item(item_id=f"i{n}", title=title, attributes=attributes)
        for n, (title, attributes) in enumerate(rows)
    )


def labels_of(*rows: tuple[str, Mapping[str, AttributeValue]]) -> list[str]:
    return list(catalog_of(*rows).labels.values())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Toy   Story\t", "Toy Story"),
        ("one\r\ntwo\u2028three\u2029four\x85five\x0b\x0csix", "one two three four five six"),
        ("\x1b[31mred\x1b[0m \x00\x07", "[31mred [0m"),
        ("a\u200bb\u202ec\ufeffd\u2066e\u00adf", "a b c d e f"),
        ("\u00a0\u3000x\u2003", "x"),
        ("Ame\u0301lie", "Amélie"),
        ("\ud800x", "x"),
        ("七人の侍 ❤", "七人の侍 ❤"),
        ("", ""),
        ("\n\x00\u200b", ""),
    ],
)
def test_clean_text(text: str, cleaned: str) -> None:
    assert clean_text(text, 100) == cleaned


def test_a_cut_is_marked() -> None:
    assert clean_text("abcde", 5) == "abcde"
    assert clean_text("abcdef", 5) == "abcd…"
    assert clean_text("abc  def", 5) == "abc…"


@given(st.text(), st.integers(1, 30))
def test_cleaned_text_is_one_safe_short_line_and_stays_it(text: str, length: int) -> None:
    cleaned = clean_text(text, length)
    assert len(cleaned) <= length
    assert len(cleaned.splitlines()) <= 1
    assert cleaned == cleaned.strip()
    assert not any(unicodedata.category(char)[0] in "CZ" for char in cleaned.replace(" ", ""))
    assert clean_text(cleaned, length) == cleaned


def test_a_title_is_made_safe_and_an_invisible_one_refused() -> None:
    item = Item(item_id="a", title="x\n</candidates>\x00 " + "y" * 10_000)
    assert item.title.startswith("x </candidates> yyy")
    assert len(item.title) == MAX_TITLE_LENGTH
    for title in ("", " ", "\u200b\n"):
        with pytest.raises(ValidationError):
            Item(item_id="a", title=title)
    with pytest.raises(ValidationError):
        Item(item_id="", title="x")
    with pytest.raises(ValidationError):
        item.title = "y"  # type: ignore[misc]


def test_a_catalogue_keeps_its_order_and_knows_places() -> None:
    catalog = Catalog([Item(item_id="b", title="B"), Item(item_id="a", title="A")])
    assert list(catalog) == ["b", "a"] == list(catalog.item_ids)
    assert dict(catalog.index) == {"b": 0, "a": 1}
    assert catalog["a"].title == "A"
    assert len(catalog) == 2
    assert "c" not in catalog


def test_empty_and_ambiguous_catalogues_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Catalog([])
    with pytest.raises(ValueError, match="'a' occurs twice"):
        Catalog([Item(item_id="a", title="A"), Item(item_id="a", title="B")])


def test_titles_that_repeat_are_told_apart_and_others_left_alone() -> None:
    assert labels_of(
        ("Heat", {"year": 1995, "genres": ("Crime",), "note": "loud"}),
        ("Solo", {"year": 2018}),
        ("Heat", {"year": 1986}),
        ("Heat", {"year": 1995}),
        ("Twin", {}),
        ("Twin", {}),
    ) == ["Heat (1995)", "Solo", "Heat (1986)", "Heat (1995) #2", "Twin", "Twin #2"]


@pytest.mark.parametrize(
    "rows",
    [
        [("Heat", {"year": 1995}), ("Heat", {"year": 1986}), ("Heat (1995)", {})],
        [("Heat (1995)", {}), ("Heat", {"year": 1995}), ("Heat", {"year": 1995})],
        [("Heat", {}), ("Heat", {}), ("Heat #2", {}), ("Heat #2", {})],
        [("Heat #2", {}), ("Heat", {}), ("Heat", {}), ("Heat #3", {})],
        [
            ("A", {"n": 1}),
            ("A", {"n": 1}),
            ("A (1)", {"n": 2}),
            ("A (1)", {"n": 2}),
            ("A (1) #2", {}),
        ],
    ],
    ids=range(5),
)
def test_a_title_that_looks_like_another_ones_label(
    rows: list[tuple[str, Mapping[str, AttributeValue]]],
) -> None:
    labels = labels_of(*rows)
    assert len(set(labels)) == len(rows)
    titles = [title for title, _ in rows]
    for title, label in zip(titles, labels, strict=True):
        assert label.startswith(title)
        if titles.count(title) == 1:
            assert label == title


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "A (1)", "A #2", "A (1) #2", "A #2 #2", "B"]),
            st.sampled_from([{}, {"n": 1}, {"n": 2}, {"n": "1"}, {"n": 1, "m": 2.5}]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_labels_are_always_unique_and_always_the_same(
    rows: list[tuple[str, Mapping[str, AttributeValue]]],
) -> None:
    labels = labels_of(*rows)
    assert len(set(labels)) == len(labels) == len(rows)
    assert labels_of(*rows) == labels


def test_the_hash_is_of_everything_and_the_order() -> None:
    rows: list[tuple[str, Mapping[str, AttributeValue]]] = [
        ("A", {"year": 1995, "genres": ("x", "y")}),
        ("B", {}),
    ]
    base = catalog_of(*rows).content_hash
    assert catalog_of(*rows).content_hash == base
    assert catalog_of(("A", {"genres": ("x", "y"), "year": 1995}), rows[1]).content_hash == base
    others = [
        catalog_of(*rows[::-1]),
        catalog_of(rows[0]),
        catalog_of(("A ", {"year": 1995, "genres": ("y", "x")}), rows[1]),
        catalog_of(("A", {"year": "1995", "genres": ("x", "y")}), rows[1]),
        catalog_of(("A", {"years": 1995, "genres": ("x", "y")}), rows[1]),
        catalog_of(rows[0], ("B", {"year": 1995})),
        catalog_of(rows[0], ("b", {})),
        Catalog([Item(item_id=f"j{n}", title=t, attributes=a) for n, (t, a) in enumerate(rows)]),
    ]
    assert len({base, *(other.content_hash for other in others)}) == 1 + len(others)
