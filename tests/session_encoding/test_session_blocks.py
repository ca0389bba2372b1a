"""Every block of a session's state, by hand on a catalogue of six items."""

import math

import numpy as np
import pytest

from agentrec.catalog import Catalog, Item
from agentrec.data.item_features import Category, ItemFeatures, Number
from agentrec.session_encoding.blocks import (
    BLOCK_NAMES,
    DEFAULT_BLOCKS,
    SPREAD_TEMPERATURE,
    BlockName,
)
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session

CATALOG = Catalog(Item(item_id=f"i{n}", title=f"thing {n}") for n in range(6))
VECTORS = np.array([[1, 0], [0, 2], [3, 4], [-1, 0], [0, -1], [0, 0]], dtype=np.float32)
# Mean zero, and more of it along the first axis: the components are the axes.
TEXT = np.array([[2, 0], [-2, 0], [0, 1], [0, -1], [0, 0], [0, 0]], dtype=np.float32)
KINDS = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0], [0, 1]], dtype=np.float32)
YEARS = np.array([0.1, 0.3, 0.9, 0.5, 0.7, 0.2], dtype=np.float32)
FAME = np.array([0.0, 1.0, 0.4, 0.6, 0.0, 0.8], dtype=np.float32)
YEAR_BINS = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8], [0, 1], [1, 0]], dtype=np.float32)
FAME_BINS = np.array([[1], [0], [0.5], [0], [1], [0]], dtype=np.float32)
FEATURES = ItemFeatures(
    text=TEXT,
    categories=(Category("kind", ("a", "b"), KINDS, KINDS),),
    numbers=(
        Number("year", YEARS.astype(np.float64), YEARS, YEAR_BINS),
        Number("fame", FAME.astype(np.float64), FAME, FAME_BINS, is_fame=True),
    ),
)
EACH_SPACE = 2 + 2 + 3


def encoder(*blocks: BlockName) -> RecencySessionEncoder:
    return RecencySessionEncoder(CATALOG, FEATURES, VECTORS, 0.5, blocks or DEFAULT_BLOCKS)


def session(*items: int, candidates: tuple[int, ...] = (), target: int | None = None) -> Session:
    return Session(
        session_id="s",
        items=tuple(f"i{n}" for n in items),
        candidates=tuple(f"i{n}" for n in candidates),
        target=None if target is None else f"i{target}",
    )


def described() -> np.ndarray:
    """Text components, kinds and bins of every item; the sign of a component is arbitrary."""
    signs = [
        encoder("text").state(session(0))[0] / 2,
        encoder("text").state(session(2))[1],
    ]
    assert np.abs(signs) == pytest.approx(1)
    return np.concatenate([TEXT * signs, KINDS, YEAR_BINS, FAME_BINS], axis=1)


def test_means_of_three_items() -> None:
    seen = session(0, 1, 2)
    weights = np.array([1, 2, 4]) / 7
    mean = weights @ described()[:3]
    assert encoder("text").state(seen) == pytest.approx(mean[:2], abs=1e-6)
    assert encoder("categories").state(seen) == pytest.approx([3 / 7, 6 / 7], abs=1e-6)
    bins = [(1 + 1.6) / 7, (1.2 + 4) / 7, (1 + 2) / 7]
    percentiles = [(0.1 + 0.6 + 3.6) / 7, (2 + 1.6) / 7]
    spreads = [np.std([0.1, 0.3, 0.9]), np.std([0.0, 1.0, 0.4])]
    assert encoder("numbers").state(seen) == pytest.approx(
        [*bins, *percentiles, *spreads], abs=1e-6
    )
    assert encoder("length").state(seen) == pytest.approx([0.3])
    assert encoder().query(seen) == pytest.approx([13 / 7, 20 / 7], abs=1e-6)


def test_a_history_of_one_item_is_that_item() -> None:
    state = encoder().state(session(1))
    own = described()[1]
    assert state == pytest.approx([*own, 0.3, 1.0, 0.0, 0.0, 0.1], abs=1e-6)
    assert encoder("last_items").state(session(1)) == pytest.approx(
        [*own[:2], 0.3, 1.0, *own[:2], 0.3, 1.0], abs=1e-6
    )


def test_the_last_item_and_the_last_three() -> None:
    text = described()[:, :2]
    state = encoder("last_items").state(session(4, 0, 1, 3, 2))
    last_three = text[[1, 3, 2]].mean(axis=0)
    numbers = [(0.3 + 0.5 + 0.9) / 3, (1.0 + 0.6 + 0.4) / 3]
    assert state == pytest.approx([*text[2], 0.9, 0.4, *last_three, *numbers], abs=1e-6)
    two = encoder("last_items").state(session(1, 2))
    assert two[4:] == pytest.approx([*text[[1, 2]].mean(axis=0), 0.6, 0.7], abs=1e-6)


def test_candidates_by_hand() -> None:
    # The history is the first item alone: cosines are the first coordinates of unit vectors.
    seen = session(0, candidates=(4, 2, 1, 3))
    cosines = [0.0, 0.6, -1.0, 0.0]
    shares = np.exp(np.array(cosines) / SPREAD_TEMPERATURE)
    shares /= shares.sum()
    entropy = -(shares * np.log(shares)).sum() / math.log(4)
    shown = described()[[1, 2, 3, 4]].mean(axis=0) - described()[0]
    expected = [-0.1, np.std(cosines), 1.6, entropy, *shown]
    assert encoder("candidates").state(seen) == pytest.approx(expected, abs=1e-6)


def test_the_spread_of_one_or_equal_candidates() -> None:
    alone = encoder("candidates").state(session(0, candidates=(2,)))
    assert alone[:4] == pytest.approx([0.6, 0, 0, 0], abs=1e-6)
    assert alone[4:] == pytest.approx(described()[2] - described()[0], abs=1e-6)
    alike = encoder("candidates").state(session(0, candidates=(1, 4)))
    assert alike[:4] == pytest.approx([0, 0, 0, 1], abs=1e-6)
    # An item without a text vector is like nothing.
    assert encoder("candidates").state(session(0, candidates=(5,)))[:4].tolist() == [0, 0, 0, 0]


def test_only_the_ten_best_candidates_are_described() -> None:
    angles = np.linspace(0, 3, 30)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    catalog = Catalog(Item(item_id=str(n), title=f"t{n}") for n in range(30))
    year = np.linspace(0, 1, 30, dtype=np.float32)
    features = ItemFeatures(vectors, (), (Number("year", year, year, year[:, None]),))
    encode = RecencySessionEncoder(catalog, features, vectors, blocks=("candidates",))
    ids = [str(n) for n in range(29, 0, -1)]
    state = encode.state(Session(session_id="s", items=("0",), candidates=tuple(ids)))
    cosines = np.cos(angles[1:])
    assert state[:3] == pytest.approx(
        [cosines.mean(), cosines.std(), cosines[0] - cosines[9]], abs=1e-6
    )
    assert state[-1] == pytest.approx(year[1:11].mean() - year[0], abs=1e-6)


def test_without_candidates_their_block_is_zeros_beside_any_other_session() -> None:
    encode = encoder("length", "candidates")
    states = encode.states([session(0, 1), session(0, 1, candidates=(2, 3)), session(2)])
    assert states[[0, 2], 1:].tolist() == [[0.0] * (4 + EACH_SPACE)] * 2
    assert np.abs(states[1, 1:]).max() > 0.1
    assert states[:, 0] == pytest.approx([0.2, 0.2, 0.1])


def test_neither_the_order_of_candidates_nor_which_is_the_target_is_seen() -> None:
    encode = encoder(*BLOCK_NAMES)
    expected = encode.state(session(0, 1, candidates=(1, 2, 3, 4)))
    for other in (
        session(0, 1, candidates=(4, 2, 3, 1)),
        session(0, 1, candidates=(1, 2, 3, 4), target=3),
    ):
        assert np.array_equal(encode.state(other), expected)
        assert np.array_equal(encoder(*BLOCK_NAMES).state(other), expected)


def test_blocks_fill_their_slices_in_the_requested_order() -> None:
    seen = session(3, 1, 2, candidates=(0, 4))
    widths = {
        "text": 2,
        "categories": 2,
        "numbers": 3 + 2 + 2,
        "length": 1,
        "last_items": 8,
        "candidates": 4 + EACH_SPACE,
    }
    assert set(widths) == set(BLOCK_NAMES)
    for order in (BLOCK_NAMES, BLOCK_NAMES[::-1], ("length", "text")):
        encode = encoder(*order)
        state, end = encode.state(seen), 0
        assert tuple(encode.block_slices) == order == encode.blocks
        for name in order:
            cut = encode.block_slices[name]
            assert (cut.start, cut.stop - cut.start) == (end, widths[name])
            assert np.array_equal(state[cut], encoder(name).state(seen))
            end = cut.stop
        assert state.shape == (end,)


def test_the_default_is_the_first_blocks_of_all() -> None:
    assert encoder().blocks == ("text", "categories", "numbers", "length")
    seen = session(3, 1, 2, candidates=(0, 4))
    every = encoder(*BLOCK_NAMES).state(seen)
    assert np.array_equal(every[: len(encoder().state(seen))], encoder().state(seen))


@pytest.mark.parametrize("blocks", [(), ("text", "text"), ("text", "fame")])
def test_impossible_blocks_are_refused(blocks: tuple[BlockName, ...]) -> None:
    with pytest.raises(ValueError, match="blocks are some of text, categories"):
        RecencySessionEncoder(CATALOG, FEATURES, VECTORS, blocks=blocks)


def test_a_catalogue_without_attributes_has_narrow_blocks() -> None:
    features = ItemFeatures(TEXT, (), ())
    encode = RecencySessionEncoder(CATALOG, features, VECTORS, blocks=BLOCK_NAMES)
    state = encode.state(session(0, 1, candidates=(2, 3)))
    assert state.shape == (2 + 0 + 0 + 1 + 4 + 4 + 2,)
    assert np.isfinite(state).all()
