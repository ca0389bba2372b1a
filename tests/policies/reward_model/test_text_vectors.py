from __future__ import annotations

import asyncio

import numpy as np
import pytest

from agentrec.policies.reward_model import knowledge_reward_model
from agentrec.policies.reward_model.knowledge_reward_model import TextVectors
from agentrec.session_encoding.embeddings import HashedWordEmbeddings

DIMENSION = 16


class Counted(HashedWordEmbeddings):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(DIMENSION)
        self.given: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.given += texts
        return super().embed_documents(texts)


async def test_each_distinct_text_is_encoded_once_and_every_row_is_its_own() -> None:
    counted = Counted()
    vectors = TextVectors(counted, DIMENSION)
    found = await vectors.of(["a", "b", "", "a"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[[0, 1]], counted.embed_documents(["a", "b"]), rtol=1e-6)
    np.testing.assert_array_equal(found[3], found[0])
    assert not found[2].any()
    counted.given.clear()
    np.testing.assert_array_equal(
        await vectors.of(["c", "b", "a"]), [*await vectors.of(["c"]), *found[[1, 0]]]
    )
    assert counted.given == ["c"]


async def test_no_text_is_no_row_and_nothing_said_is_not_encoded() -> None:
    counted = Counted()
    vectors = TextVectors(counted, DIMENSION)
    assert (await vectors.of([])).shape == (0, DIMENSION)
    assert not (await vectors.of(["", ""])).any()
    assert counted.given == []


async def test_what_was_used_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge_reward_model, "CACHED_TEXTS", 2)
    counted = Counted()
    vectors = TextVectors(counted, DIMENSION)
    await vectors.of(["a", "b"])
    await vectors.of(["a"])
    await vectors.of(["c"])
    assert counted.given == ["a", "b", "c"]
    await vectors.of(["a", "c"])
    assert counted.given == ["a", "b", "c"]
    await vectors.of(["b"])
    assert counted.given == ["a", "b", "c", "b"]


async def test_what_others_push_out_meanwhile_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(knowledge_reward_model, "CACHED_TEXTS", 1)

    class Slow(HashedWordEmbeddings):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            await asyncio.sleep(0.01 if "slow" in texts else 0)
            return self.embed_documents(texts)

    vectors = TextVectors(Slow(DIMENSION), DIMENSION)
    [known] = await vectors.of(["known"])
    both, _ = await asyncio.gather(vectors.of(["known", "slow"]), vectors.of(["another"]))
    np.testing.assert_array_equal(both[0], known)


async def test_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match="16 numbers, not 1"):
        await TextVectors(Counted(), 1).of(["a"])
