from __future__ import annotations

import numpy as np
import pytest
from embedded_model.planted import Planted

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.initialization import (
    FEATURE_DIMENSIONS,
    FEATURES,
    FILLER,
    HANDLE_DIMENSIONS,
    HANDLES,
    IS_ITEM,
    WIDTH,
    handle_codes,
    item_columns,
)


@pytest.fixture(params=["films", "titles"])
def made(request: pytest.FixtureRequest) -> Planted:
    planted: Planted = request.getfixturevalue(request.param)
    return planted


def test_features_handles_and_flags_share_no_dimension() -> None:
    dimensions = [
        *range(FEATURES.start, FEATURES.stop),
        *range(HANDLES.start, HANDLES.stop),
        *range(IS_ITEM, FILLER + 1),
    ]
    assert dimensions == list(range(WIDTH))


@pytest.mark.parametrize("seed", [0, 1])
def test_codes_are_orthogonal_to_one_another_and_to_ones(seed: int) -> None:
    codes = handle_codes(100, seed).astype(np.float64)
    assert codes.shape == (100, HANDLE_DIMENSIONS)
    assert np.allclose(codes @ codes.T, np.eye(100), atol=1e-5)
    assert np.allclose(codes.sum(axis=1), 0, atol=1e-5)


def test_codes_depend_on_their_seed_alone() -> None:
    assert np.array_equal(handle_codes(10, 3), handle_codes(10, 3))
    assert not np.allclose(handle_codes(10, 3), handle_codes(10, 4))


def test_filler_makes_every_item_as_long_as_any_other(made: Planted) -> None:
    columns = item_columns(made.features, made.aspects)
    lengths = (columns.vectors**2).sum(axis=1) + columns.filler**2
    assert np.allclose(lengths, 1, atol=1e-5)
    assert (columns.filler >= 0).all()
    assert columns.filler.std() > 0


def test_phrases_measure_how_much_of_an_aspect_an_item_has(made: Planted) -> None:
    columns = item_columns(made.features, made.aspects)
    assert columns.phrases.shape == (len(made.aspects), FEATURE_DIMENSIONS)
    assert np.linalg.norm(columns.phrases, axis=1).mean() == pytest.approx(1, abs=1e-4)
    products = columns.vectors @ columns.phrases.T
    fits = [
        float(np.corrcoef(products[:, n], aspect.scores)[0, 1])
        for n, aspect in enumerate(made.aspects)
    ]
    assert np.mean(fits) > 0.85
    assert min(fits) > 0.3
    # A phrase means itself more than any other.
    others = np.corrcoef(products.T, np.stack([a.scores for a in made.aspects]))
    count = len(made.aspects)
    assert (others[:count, count:].argmax(axis=1) == np.arange(count)).mean() > 0.9


def test_content_columns_hold_no_numbers(films: Planted) -> None:
    columns = item_columns(films.features, films.aspects)
    about = columns.vectors[:, list(columns.content)]
    like = about @ about.T
    kinds = films.features.categories[0].vectors
    text = films.features.text
    off = ~np.eye(80, dtype=bool)
    fit = np.corrcoef(like[off], (kinds @ kinds.T + text @ text.T)[off])[0, 1]
    years = films.features.numbers[0].vectors
    unfit = np.corrcoef(like[off], (years @ years.T)[off])[0, 1]
    assert fit > 0.8
    assert abs(unfit) < 0.2


@pytest.mark.parametrize(
    "items",
    [
        [Item(item_id="a", title="Only")],
        [Item(item_id=str(n), title="Same", attributes={"y": 5, "k": "x"}) for n in range(12)],
        [Item(item_id=str(n), title=f"T{n}", attributes={"y": n}) for n in range(12)],
    ],
    ids=["one item", "constants", "numbers alone"],
)
def test_tiny_catalogues_have_finite_columns(items: list[Item]) -> None:
    planted = Planted.of(Catalog(items))
    columns = item_columns(planted.features, planted.aspects)
    assert columns.vectors.shape == (len(items), FEATURE_DIMENSIONS)
    for values in (columns.vectors, columns.filler, columns.phrases):
        assert np.isfinite(values).all()
