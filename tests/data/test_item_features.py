import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data.item_features import FAME, ItemFeatures, discover_features

N = 12


def catalog(**columns: list[AttributeValue | None]) -> Catalog:
    return Catalog(
        Item(
            item_id=f"i{n}",
            title=f"Title {n}",
            attributes={k: v for k, c in columns.items() if (v := c[n]) is not None},
        )
        for n in range(N)
    )


def features(items: Catalog, counts: Mapping[str, int] | None = None) -> ItemFeatures:
    text = np.random.default_rng(0).normal(size=(len(items), 6)).astype(np.float32)
    return discover_features(items, text, counts or {})


def kinds(found: ItemFeatures) -> dict[str, list[str]]:
    return {
        "categories": [category.name for category in found.categories],
        "numbers": [number.name for number in found.numbers],
    }


COLUMNS: dict[str, list[AttributeValue | None]] = {
    "year": [1990 + n for n in range(N)],
    "price": [n / 3 for n in range(N)],
    "genres": [("a", "b") if n % 2 else ("b",) for n in range(N)],
    "country": ["US" if n % 3 else "FR" for n in range(N)],
    "plot": [f"a story of its own, number {n}" for n in range(N)],
    "code": [f"x{n}" for n in range(N)],
}


def test_kinds_are_found_by_content_and_free_text_and_ids_are_left_out() -> None:
    assert kinds(features(catalog(**COLUMNS))) == {
        "categories": ["genres", "country"],
        "numbers": ["year", "price"],
    }


def test_names_do_not_matter() -> None:
    plain = features(catalog(**COLUMNS))
    swapped_names = dict(
        zip(COLUMNS, ["genres", "text", "year", FAME, "code", "title"], strict=True)
    )
    swapped = features(catalog(**{swapped_names[k]: v for k, v in COLUMNS.items()}))
    assert kinds(swapped) == {"categories": ["year", FAME], "numbers": ["genres", "text"]}
    for mine, other in zip(plain.categories, swapped.categories, strict=True):
        assert np.array_equal(mine.vectors, other.vectors)
        assert mine.values == other.values
    for number, twin in zip(plain.numbers, swapped.numbers, strict=True):
        assert np.array_equal(number.vectors, twin.vectors)
        assert not twin.is_fame


def test_the_majority_of_known_values_decides_between_number_and_text() -> None:
    mostly_numbers: list[AttributeValue | None] = [1.5, 2, "n/a", "n/a", 3, None] * 2
    mostly_texts: list[AttributeValue | None] = ["x", 2, "x", "y", 2, None] * 2
    found = features(catalog(a=mostly_numbers, b=mostly_texts))
    assert kinds(found) == {"categories": ["b"], "numbers": ["a"]}
    (number,), (category,) = found.numbers, found.categories
    assert np.array_equal(np.isnan(number.raw), [False, False, True, True, False, True] * 2)
    assert category.values == ("2", "x", "y")
    assert category.member.sum(axis=1).tolist() == [1, 1, 1, 1, 1, 0] * 2


def test_unknown_values_stay_in_the_middle_and_have_no_direction() -> None:
    found = features(
        catalog(
            n=[10, None, 30, 30, None, 50] * 2,
            c=["x", None, "x", "y", None, "y"] * 2,
        )
    )
    number, category = found.numbers[0], found.categories[0]
    unknown = np.array([False, True, False, False, True, False] * 2)
    # 8 known: two of 10, four of 30, two of 50; ties share the mean of their ranks.
    assert number.percentile.tolist() == [0.125, 0.5, 0.5, 0.5, 0.5, 0.875] * 2
    assert (number.vectors[unknown] == 0).all()
    assert (category.vectors[unknown] == 0).all()
    for vectors in (number.vectors, category.vectors):
        assert np.allclose(np.linalg.norm(vectors[~unknown], axis=1), 1, atol=1e-6)


def test_near_numbers_are_alike_and_far_ones_are_not() -> None:
    vectors = features(catalog(n=list(range(N)))).numbers[0].vectors
    likeness = vectors @ vectors[0]
    assert (np.diff(likeness) < 0).all()
    assert likeness[1] > 0.8
    assert likeness[-1] < 0.01


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_number_beyond_floats_counts_as_unknown(nothing: float) -> None:
    found = features(catalog(a=[nothing] * N, b=[nothing, *range(1, N)]))
    assert kinds(found) == {"categories": [], "numbers": ["b"]}
    assert np.isnan(found.numbers[0].raw).tolist() == [True] + [False] * (N - 1)


def test_fame_comes_from_the_given_counts_alone() -> None:
    items = catalog(**COLUMNS)
    assert not any(number.is_fame for number in features(items).numbers)
    assert not any(number.is_fame for number in features(items, {"i1": 0}).numbers)
    fame = features(items, {"i1": 5, "i2": 1, "gone": 9}).numbers[-1]
    assert (fame.name, fame.is_fame) == (FAME, True)
    assert fame.raw.tolist() == [0, 5, 1] + [0] * (N - 3)
    assert fame.percentile.argmax() == 1


def test_nothing_but_titles() -> None:
    found = features(catalog())
    assert kinds(found) == {"categories": [], "numbers": []}
    assert np.allclose(np.linalg.norm(found.text, axis=1), 1, atol=1e-6)


def test_text_is_centred_before_it_is_scaled() -> None:
    shifted = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    first = discover_features(catalog(), shifted, {}).text
    second = discover_features(catalog(), shifted + np.float32(7), {}).text
    assert np.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2])
def test_constants_and_tiny_catalogues_do_no_harm(size: int) -> None:
    items = Catalog(
        Item(item_id=str(n), title="Same", attributes={"y": 5, "c": "x"}) for n in range(size)
    )
    found = discover_features(items, np.ones((size, 4), dtype=np.float32), {"0": 3})
    assert (found.text == 0).all()
    every = [
        found.text,
        *(c.vectors for c in found.categories),
        *(n.vectors for n in found.numbers),
    ]
    assert all(np.isfinite(block).all() for block in every)
    assert found.numbers[0].percentile.tolist() == [0.5] * size


SCRIPT = """
import hashlib
import numpy as np
from agentrec.catalog import Catalog, Item
from agentrec.data.item_features import discover_features
from agentrec.embedded_model.aspects import discover_aspects
from agentrec.embedded_model.text_grammar import all_words
from agentrec.session_encoding.embeddings import HashedWordEmbeddings

kinds = ("a", "b", "c", "d", "e", "f")
for attributes in (True, False):
    items = Catalog(
        Item(
            item_id=str(n),
            title=f"{kinds[n % 6] * 4} {kinds[n % 5] * 5}",
            attributes={"k": (kinds[n % 6], kinds[n % 4], kinds[n % 3]), "y": n % 9}
            if attributes else {},
        )
        for n in range(40)
    )
    text = HashedWordEmbeddings(16).embed_documents([i.title for i in items.values()])
    found = discover_features(items, np.array(text, dtype=np.float32), {"3": 2, "7": 1})
    aspects = discover_aspects(items, found)
    print([a.phrase for a in aspects], all_words(aspects))
    blocks = [found.text, *(a.scores for a in aspects)]
    blocks += [c.vectors for c in found.categories] + [n.vectors for n in found.numbers]
    print(hashlib.sha256(b"".join(b.tobytes() for b in blocks)).hexdigest())
"""


def test_every_process_finds_the_same() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "theme aaaa" in said.pop()
