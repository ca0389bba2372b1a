"""04: a state sees the first item alone, or shifts where an item lacks an attribute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agentrec.data import Dataset, load_folder
from agentrec.data.item_features import discover_features
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.session_encoding.item_vectors import embed_items
from agentrec.sessions import Session

DIRECTORS = ("Kurosawa", "Varda", "Wilder")
WITHOUT = frozenset({4, 11})


@pytest.fixture
def films(tmp_path: Path) -> Dataset:
    """Thirty films; two in the middle have no director: one an empty field, one none at all."""
    items = []
    for number in range(30):
        item: dict[str, object] = {"item_id": f"f{number}", "title": f"Film of number {number}"}
        if number not in WITHOUT:
            item["director"] = DIRECTORS[number % len(DIRECTORS)]
        items.append(item)
    items[4]["director"] = None
    sessions = [
        {"session_id": f"s{n}", "items": [f"f{n}", f"f{n + 1}"], "target": f"f{n + 2}"}
        for n in range(10)
    ]
    for file, rows in (("items", items), ("sessions.train", sessions)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{file}.jsonl").write_text(text, encoding="utf-8")
    return load_folder(tmp_path)


def encoder_of(films: Dataset, cache: Path) -> tuple[RecencySessionEncoder, tuple[str, ...]]:
    """An encoder, and which director each number of its category block stands for."""
    vectors = embed_items(films.catalog, HashedWordEmbeddings(64), "hashed", cache)
    features = discover_features(films.catalog, vectors, {})
    (category,) = features.categories
    return RecencySessionEncoder(films.catalog, features, vectors), category.values


def session_of(*numbers: int) -> Session:
    return Session(session_id="s", items=tuple(f"f{number}" for number in numbers))


@pytest.mark.parametrize("changed", range(6))
def test_04_every_item_of_a_session_moves_its_state(
    films: Dataset, tmp_path: Path, changed: int
) -> None:
    encoder, _ = encoder_of(films, tmp_path)
    numbers = [0, 3, 6, 9, 12, 15]
    other = [26 if position == changed else number for position, number in enumerate(numbers)]
    assert np.abs(encoder.state(session_of(*numbers)) - encoder.state(session_of(*other))).max() > (
        1e-3
    )
    assert not np.allclose(encoder.query(session_of(*numbers)), encoder.query(session_of(*other)))


def test_04_items_behind_one_without_a_director_keep_their_own(
    films: Dataset, tmp_path: Path
) -> None:
    encoder, directors = encoder_of(films, tmp_path)
    assert set(directors) == set(DIRECTORS)
    block = encoder.block_slices["categories"]
    for number in range(30):
        shares = dict(
            zip(directors, encoder.state(session_of(number))[block].tolist(), strict=True)
        )
        own = None if number in WITHOUT else DIRECTORS[number % len(DIRECTORS)]
        assert shares == {director: float(director == own) for director in DIRECTORS}, number


def test_04_a_query_is_made_of_the_sessions_own_items(films: Dataset, tmp_path: Path) -> None:
    encoder, _ = encoder_of(films, tmp_path)
    vectors = embed_items(films.catalog, HashedWordEmbeddings(64), "hashed", tmp_path)
    for number in (3, 4, 5, 12, 29):
        assert np.allclose(encoder.query(session_of(number)), vectors[number], atol=1e-6)
