from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from agentrec.catalog import Catalog, Item
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.session_encoding.item_vectors import CHUNK, embed_items, item_text


class Counting(HashedWordEmbeddings):
    """Counts the texts it is asked for."""

    def __init__(self) -> None:
        super().__init__(16)
        self.batches: list[int] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        return super().embed_documents(texts)


def catalog(size: int = 10, word: str = "thing") -> Catalog:
    return Catalog(
        Item(item_id=f"i{n}", title=f"{word} {n}", attributes={"k": ("a", f"b{n % 3}"), "y": n})
        for n in range(size)
    )


def cached(cache: Path) -> Path:
    (file,) = (cache / "item-vectors").glob("*.safetensors")
    return file


def test_titles_and_texts_are_embedded_and_numbers_are_not() -> None:
    item = Item(
        item_id="x",
        title="Heat",
        attributes={"year": 1995, "genres": ("Crime", "Drama"), "of": "US", "none": (), "": ""},
    )
    assert item_text(item) == "Heat | Crime, Drama | US"


def test_vectors_are_in_catalogue_order(tmp_path: Path) -> None:
    items = catalog()
    vectors = embed_items(items, HashedWordEmbeddings(16), "h", tmp_path)
    assert vectors.dtype == np.float32
    texts = [item_text(item) for item in items.values()]
    assert np.allclose(vectors, HashedWordEmbeddings(16).embed_documents(texts), atol=1e-6)


def test_vectors_are_computed_once(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    one = embed_items(catalog(), first, "h", tmp_path)
    reported: list[tuple[int, int]] = []
    two = embed_items(catalog(), second, "h", tmp_path, lambda *step: reported.append(step))
    assert (sum(first.batches), second.batches, reported) == (10, [], [])
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("items", "name"), [(catalog(9), "h"), (catalog(word="other"), "h"), (catalog(), "h2")]
)
def test_other_texts_or_another_encoder_are_computed(
    tmp_path: Path, items: Catalog, name: str
) -> None:
    embed_items(catalog(), HashedWordEmbeddings(16), "h", tmp_path)
    encoder = Counting()
    embed_items(items, encoder, name, tmp_path)
    assert sum(encoder.batches) == len(items)


def test_numbers_and_ids_alone_change_nothing(tmp_path: Path) -> None:
    embed_items(catalog(), HashedWordEmbeddings(16), "h", tmp_path)
    other = Catalog(
        item.model_copy(update={"item_id": f"x{n}", "attributes": {**item.attributes, "y": 7}})
        for n, item in enumerate(catalog().values())
    )
    encoder = Counting()
    embed_items(other, encoder, "h", tmp_path)
    assert encoder.batches == []


@pytest.mark.parametrize("how", ["empty", "cut", "garbage", "other shape", "other name"])
def test_a_damaged_cache_is_recomputed_and_rewritten(tmp_path: Path, how: str) -> None:
    whole = embed_items(catalog(), HashedWordEmbeddings(16), "h", tmp_path)
    file = cached(tmp_path)
    content = file.read_bytes()
    if how.startswith("other"):
        embed_items(catalog(4), HashedWordEmbeddings(16), "h", tmp_path / "b")
        content = cached(tmp_path / "b").read_bytes()
        if how == "other name":
            content = content.replace(b'"vectors"', b'"victors"')
    damaged = {"empty": b"", "cut": content[:-9], "garbage": b"x" * 99}
    file.write_bytes(damaged.get(how, content))
    encoder = Counting()
    assert np.array_equal(embed_items(catalog(), encoder, "h", tmp_path), whole)
    assert sum(encoder.batches) == 10
    again = Counting()
    assert np.array_equal(embed_items(catalog(), again, "h", tmp_path), whole)
    assert again.batches == []


def test_progress_is_reported_by_chunks(tmp_path: Path) -> None:
    size = 2 * CHUNK + 5
    reported: list[tuple[int, int]] = []
    encoder = Counting()
    embed_items(catalog(size), encoder, "h", tmp_path, lambda *step: reported.append(step))
    assert encoder.batches == [CHUNK, CHUNK, 5]
    assert reported == [(CHUNK, size), (2 * CHUNK, size), (size, size)]


def test_an_encoder_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionResetError("gone")

        def embed_query(self, text: str) -> list[float]:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        embed_items(catalog(), Failing(), "h", tmp_path)
    assert not list(tmp_path.rglob("*"))
