"""Another embedding model for a knowledge base."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEmbedding, Revision
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.folder_description import describe, namespaces
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.stores.reembedding import reembed

HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]


async def embed(texts: Sequence[str], dimension: int = 16) -> list[list[float]]:
    return HashedWordEmbeddings(dimension).embed_documents(list(texts))


async def make(folder: Path, namespace: str = "") -> list[Revision]:
    """A knowledge base of the model "small" with three revisions, one of them empty."""
    opening = QdrantHintStore.open(folder, 8, namespace=namespace, embedding_model="small")
    async with await opening as store:
        hints = [hint.model_copy(update={"namespace": namespace}) for hint in HINTS]
        await store.add_many(hints, await embed([hint.text for hint in hints], 8))
        await store.change([hints[0].model_copy(update={"state": "retired"})], "one less")
        await store.roll_back(2)
        return await store.revisions()


async def history(store: QdrantHintStore, upto: int) -> list[list[Hint]]:
    return [await store.as_of(number) for number in range(upto + 1)]


@pytest.mark.parametrize("namespace", ["", "films"])
async def test_vectors_are_new_and_everything_else_is_known(tmp_path: Path, namespace: str) -> None:
    revisions = await make(tmp_path, namespace)
    async with await QdrantHintStore.open(tmp_path, 8, namespace=namespace) as store:
        before = await history(store, 3)
    assert await reembed(tmp_path, embed, "large", 16, namespace) == 300
    opening = QdrantHintStore.open(tmp_path, 16, namespace=namespace, embedding_model="large")
    async with await opening as store:
        assert await history(store, 3) == before
        assert (await store.revisions())[:3] == revisions
        assert (await store.revisions())[3].note == "embedded anew with large"
        hints = await store.all(STATES)
        assert [hint.text for hint in hints] == [hint.text for hint in HINTS]
        assert [hint.version for hint in hints[:2]] == [3, 2]
        assert {hint.embedding for hint in hints} == {HintEmbedding(model="large", dimension=16)}
        query = (await embed([HINTS[7].text]))[0]
        assert (await store.search(query, 1))[0].hint.text == HINTS[7].text
        # Rolling back brings back what was known, not vectors that are gone.
        await store.roll_back(1)
        assert {hint.embedding for hint in await store.all(STATES)} == {
            HintEmbedding(model="large", dimension=16)
        }
        assert (await store.search(query, 1))[0].hint.text == HINTS[7].text
    with pytest.raises(StoreError, match="kb reembed"):
        await QdrantHintStore.open(tmp_path, 8, namespace=namespace, embedding_model="small")
    assert await namespaces(tmp_path) == [namespace]
    assert len([*(tmp_path / "collection").iterdir()]) == 1


async def test_doing_it_again_does_nothing_and_a_third_model_works(tmp_path: Path) -> None:
    await make(tmp_path)
    assert await reembed(tmp_path, embed, "large", 16) == 300
    assert await reembed(tmp_path, embed, "large", 16) == 0
    assert await reembed(tmp_path, embed, "other", 16) == 300
    info = await describe(tmp_path)
    assert info is not None
    assert (info.embedding_model, info.dimension, info.revisions) == ("other", 16, 5)
    assert len([*(tmp_path / "collection").iterdir()]) == 1


async def test_what_cannot_be_embedded_anew(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no knowledge base"):
        await reembed(tmp_path, embed, "large", 16)
    await make(tmp_path)
    with pytest.raises(StoreError, match="namespace 'films'"):
        await reembed(tmp_path, embed, "large", 16, "films")
    with pytest.raises(ValueError, match="name"):
        await reembed(tmp_path, embed, "", 16)
    with pytest.raises(ValueError, match="shape"):
        await reembed(tmp_path, embed, "large", 17)
    async with await QdrantHintStore.open(tmp_path, 8):
        with pytest.raises(StoreError, match="in this process"):
            await reembed(tmp_path, embed, "large", 16)
    async with await QdrantHintStore.open(tmp_path, 8, embedding_model="small") as store:
        assert len(await store.all(STATES)) == 300


async def test_an_empty_knowledge_base_gets_the_new_length(tmp_path: Path) -> None:
    async with await QdrantHintStore.open(tmp_path, 8) as store:
        await store.roll_back(0)
    assert await reembed(tmp_path, embed, "large", 16) == 0
    async with await QdrantHintStore.open(tmp_path, 16, embedding_model="large") as store:
        assert [each.number for each in await store.revisions()] == [1, 2]


DYING = """
import asyncio, os, signal, sys
from agentrec.stores import reembedding
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from qdrant_client import QdrantClient
from qdrant_client.local.persistence import CollectionPersistence

owner = {"reembedding": reembedding, "client": QdrantClient, "disk": CollectionPersistence}
where, name, when = sys.argv[2].split(".")
wanted = int(sys.argv[3])
original = getattr(owner[where], name)
calls = 0

def dying(*arguments, **options):
    global calls
    calls += 1
    if when == "before" and calls == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **options)
    if when == "after" and calls == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner[where], name, dying)

async def embed(texts):
    return HashedWordEmbeddings(16).embed_documents(list(texts))

asyncio.run(reembedding.reembed(sys.argv[1], embed, "large", 16))
"""


@pytest.mark.parametrize(
    ("step", "call", "is_new"),
    [
        ("client.create_collection.after", 1, False),
        ("disk.persist.after", 299, False),
        ("reembedding.write_points.after", 1, False),
        ("client.update_collection_aliases.after", 1, True),
        ("client.delete_collection.after", 1, True),
    ],
)
def test_kill_9_leaves_the_old_or_the_new_one_and_the_same_call_completes_it(
    tmp_path: Path, step: str, call: int, is_new: bool, run_forked: Callable[..., int]
) -> None:
    asyncio.run(make(tmp_path))
    assert run_forked(DYING, tmp_path, step, call) == -signal.SIGKILL

    async def check() -> None:
        info = await describe(tmp_path)
        assert info is not None
        dimension, model = (16, "large") if is_new else (8, "small")
        assert (info.dimension, info.embedding_model) == (dimension, model)
        opening = QdrantHintStore.open(tmp_path, dimension, embedding_model=model)
        async with await opening as store:
            assert len(await store.all(STATES)) == 300
            query = (await embed([HINTS[7].text], dimension))[0]
            assert (await store.search(query, 1))[0].similarity == pytest.approx(1.0)
        assert await reembed(tmp_path, embed, "large", 16) == (0 if is_new else 300)
        async with await QdrantHintStore.open(tmp_path, 16, embedding_model="large") as store:
            assert len(await store.revisions()) == 4
        assert len([*(tmp_path / "collection").iterdir()]) == 1

    asyncio.run(check())
