"""Another embedding model for a knowledge base."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEmbedding
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.opening import describe, open_hint_store, reembed

HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]


async def embed(texts: Sequence[str], dimension: int = 16) -> list[list[float]]:
    return HashedWordEmbeddings(dimension).embed_documents(list(texts))


async def make(folder: Path, namespace: str = "") -> list[list[Hint]]:
    """A knowledge base of the model "small" with three revisions; what each of them left."""
    async with await open_hint_store(
        folder, 8, namespace=namespace, embedding_model="small"
    ) as store:
        hints = [hint.model_copy(update={"namespace": namespace}) for hint in HINTS]
        await store.add_many(hints, await embed([hint.text for hint in hints], 8))
        await store.change([hints[0].model_copy(update={"state": "retired"})], "one less")
        await store.roll_back(2)
        return [await store.as_of(number) for number in range(4)]


@pytest.mark.parametrize("namespace", ["", "films"])
async def test_vectors_are_new_and_everything_else_is_known(tmp_path: Path, namespace: str) -> None:
    before = await make(tmp_path, namespace)
    assert await reembed(tmp_path, embed, "large", 16, namespace) == 300
    large = HintEmbedding(model="large", dimension=16)
    query = (await embed([HINTS[7].text]))[0]
    async with await open_hint_store(
        tmp_path, 16, namespace=namespace, embedding_model="large"
    ) as store:
        assert [await store.as_of(number) for number in range(4)] == before
        assert (await store.revisions())[3].note == "embedded anew with large"
        hints = await store.all(STATES)
        assert [hint.version for hint in hints[:2]] == [3, 2]
        assert {hint.embedding for hint in hints} == {large}
        assert (await store.search(query, 1))[0].hint.text == HINTS[7].text
        # Rolling back restores states, not vectors that are gone.
        await store.roll_back(1)
        assert {hint.embedding for hint in await store.all(STATES)} == {large}
        assert (await store.search(query, 1))[0].hint.text == HINTS[7].text
    with pytest.raises(StoreError, match="kb reembed"):
        await open_hint_store(tmp_path, 8, namespace=namespace, embedding_model="small")


async def test_again_does_nothing_and_a_third_model_works(tmp_path: Path) -> None:
    await make(tmp_path)
    assert await reembed(tmp_path, embed, "large", 16) == 300
    assert await reembed(tmp_path, embed, "large", 16) == 0
    assert await reembed(tmp_path, embed, "other", 16) == 300
    info = await describe(tmp_path)
    assert info is not None
    assert (info.embedding_model, info.dimension, info.revisions) == ("other", 16, 5)


async def test_what_cannot_be_embedded_anew(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no knowledge base"):
        await reembed(tmp_path, embed, "large", 16)
    await make(tmp_path)
    with pytest.raises(StoreError, match="no knowledge base"):
        await reembed(tmp_path, embed, "large", 16, "films")
    with pytest.raises(ValueError, match="name"):
        await reembed(tmp_path, embed, "", 16)
    with pytest.raises(ValueError, match="shape"):
        await reembed(tmp_path, embed, "large", 17)


async def test_an_open_store_says_that_it_has_to_be_opened_again(tmp_path: Path) -> None:
    await make(tmp_path)
    async with await open_hint_store(tmp_path, 8) as store:
        await reembed(tmp_path, embed, "large", 16)
        for _ in range(2):
            with pytest.raises(StoreError, match="open it again"):
                await store.all()


async def test_hints_that_come_meanwhile_are_embedded_too(tmp_path: Path) -> None:
    await make(tmp_path)
    late = Hint(text="Prefer what came late.")

    async def slowly(texts: Sequence[str]) -> list[list[float]]:
        async with await open_hint_store(tmp_path, 8) as store:
            await store.add(late, [1.0] * 8)
        return await embed(texts)

    assert await reembed(tmp_path, slowly, "large", 16) == 301
    async with await open_hint_store(tmp_path, 16) as store:
        assert (await store.all())[-1].text == late.text
        assert len(await store.search([1.0] * 16, 500, STATES)) == 301


async def test_an_empty_knowledge_base_gets_the_new_length(tmp_path: Path) -> None:
    async with await open_hint_store(tmp_path, 8) as store:
        await store.roll_back(0)
    assert await reembed(tmp_path, embed, "large", 16) == 0
    async with await open_hint_store(tmp_path, 16, embedding_model="large") as store:
        assert [each.number for each in await store.revisions()] == [1, 2]


DYING = """
import asyncio, os, signal, sqlite3, sys
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints import revision_log
from agentrec.stores.hints.opening import reembed

class Dying(sqlite3.Connection):
    def execute(self, statement, *parameters):
        if statement == "COMMIT":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *parameters)

connect = sqlite3.connect
revision_log.sqlite3.connect = lambda *a, **o: connect(*a, **o, factory=Dying)

async def embed(texts):
    return HashedWordEmbeddings(16).embed_documents(list(texts))

asyncio.run(reembed(sys.argv[1], embed, "large", 16))
"""


def test_kill_9_leaves_the_old_vectors_and_the_same_call_completes_it(
    tmp_path: Path, run_forked: Callable[..., int]
) -> None:
    asyncio.run(make(tmp_path))
    assert run_forked(DYING, tmp_path) == -signal.SIGKILL

    async def check() -> None:
        async with await open_hint_store(tmp_path, 8, embedding_model="small") as store:
            assert len(await store.revisions()) == 3
        assert await reembed(tmp_path, embed, "large", 16) == 300

    asyncio.run(check())
