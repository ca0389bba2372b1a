"""A knowledge base on a server, over HTTP: many writers, killed writers, clear failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from testing.qdrant_http_front import QdrantHttpFront, qdrant_http_front

from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint
from agentrec.stores.hints.logged_store import LoggedHintStore
from agentrec.stores.hints.opening import API_KEY_VARIABLE, describe, namespaces, open_hint_store
from agentrec.stores.hints.vector_index import QdrantIndex

KEY = "k3y-that-nobody-may-see"
EAST = [1.0, 0.0]
HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(150)]


@pytest.fixture
def front() -> Iterator[QdrantHttpFront]:
    with qdrant_http_front() as front:
        yield front


async def opened(front: QdrantHttpFront, **options: str) -> LoggedHintStore:
    return await open_hint_store(front.url, 2, **options)


async def test_what_one_writer_stores_all_see_and_it_lasts(front: QdrantHttpFront) -> None:
    async with await opened(front) as first, await opened(front) as second:
        assert sum(await first.add_many(HINTS, [EAST] * 150)) == 150
        assert await second.all() == HINTS
        assert await second.roll_back(0) == 2
        assert await first.search(EAST, 5) == []
        assert len(await first.search(EAST, 500, ["retired"])) == 150
    async with await opened(front) as again:
        assert [len(each.hint_ids) for each in await again.revisions()] == [150, 150]
        assert await again.as_of(1) == HINTS


async def test_writers_at_once_never_share_a_revision(front: QdrantHttpFront) -> None:
    stores = [await opened(front) for _ in range(3)]
    answers = await asyncio.gather(
        *(store.add(each, EAST) for each in HINTS[:8] for store in stores)
    )
    assert sum(answers) == 8
    for store in stores:
        assert sorted(each.text for each in await store.all()) == sorted(
            each.text for each in HINTS[:8]
        )
        assert [each.number for each in await store.revisions()] == list(range(1, 9))
        assert len(await store.search(EAST, 100)) == 8
        await store.aclose()


async def test_a_writer_that_died_before_the_index_is_made_up_for(
    front: QdrantHttpFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is the truth: whoever reads the revision next puts it into the index."""

    def dead(*_: object) -> None:
        raise ConnectionError("gone")

    async with await opened(front) as writer, await opened(front) as reader:
        await writer.add(HINTS[0], EAST)
        with monkeypatch.context() as dying:
            dying.setattr(QdrantIndex, "put", dead)
            with pytest.raises(StoreError, match="gone"):
                await writer.add(HINTS[1], EAST)
            with pytest.raises(StoreError, match="gone"):
                await writer.change([HINTS[0].model_copy(update={"state": "retired"})], "gone")
        for store in (reader, writer):
            assert [each.hint.text for each in await store.search(EAST, 9)] == [HINTS[1].text]
            assert len(await store.search(EAST, 9, STATES)) == 2


async def test_a_revision_whose_head_was_not_written_is_not_there(
    front: QdrantHttpFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await opened(front) as store:
        with monkeypatch.context() as dying:

            def dead(*_: Any) -> None:
                raise ConnectionError("gone")

            dying.setattr("agentrec.stores.hints.qdrant_log.QdrantLog._insert_if_new", dead)
            with pytest.raises(StoreError, match="gone"):
                await store.add_many(HINTS, [EAST] * 150)
        assert await store.all(STATES) == []
        assert sum(await store.add_many(HINTS, [EAST] * 150)) == 150


async def test_namespaces_are_apart_and_can_be_described(front: QdrantHttpFront) -> None:
    for namespace in ("", "shop"):
        async with await opened(front, namespace=namespace, embedding_model="m") as store:
            await store.add(Hint(text="Prefer old films.", namespace=namespace), EAST)
    assert await namespaces(front.url) == ["", "shop"]
    info = await describe(front.url, "shop")
    assert info is not None
    assert (info.embedding_model, info.dimension, info.counts["admitted"]) == ("m", 2, 1)
    assert await describe(front.url, "none") is None
    with pytest.raises(StoreError, match="kb reembed"):
        await opened(front, embedding_model="other")


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
async def test_a_refusal_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with qdrant_http_front(api_key="another") as front:
        monkeypatch.setenv(API_KEY_VARIABLE, KEY)
        with pytest.raises(StoreError, match="401") as caught:
            await opened(front)
        assert front.url in str(caught.value)
        assert caught.value.__cause__ is None
        assert KEY not in str(caught.value) + caplog.text
        monkeypatch.setenv(API_KEY_VARIABLE, "another")
        async with await opened(front) as store:
            assert await store.add(HINTS[0], EAST)


async def test_a_server_that_is_not_there_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9: .*is a Qdrant server there") as e:
        await open_hint_store("http://user:secret@127.0.0.1:9", 2)
    assert "secret" not in str(e.value)
    with (
        qdrant_http_front(version="1.15.4") as front,
        pytest.raises(StoreError, match=r"1\.17 or later is needed, not 1\.15\.4"),
    ):
        await opened(front)
