"""Knowledge bases from before hints had states, versions and revisions."""

from pathlib import Path

from qdrant_client import QdrantClient, models

from agentrec.hints import Hint, HintEmbedding
from agentrec.stores.folder_description import describe
from agentrec.stores.hint_points import point_id
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.stores.reembedding import reembed

OLD = [
    {
        "text": f"Prefer films of kind {number}.",
        "provenance": {
            "session_id": "s1",
            "model": "m",
            "prompt_hash": "p",
            "diagnosis": "half of one: \ud83c",
            "ndcg_before": 0.0,
            "ndcg_after": 1.0,
        },
        "evidence": {"sessions": 3, "mean_gain": 0.1, "low": 0.05, "wins": 2, "losses": 0},
    }
    for number in range(3)
]
HINTS = [Hint.model_validate(old) for old in OLD]


def stored_before(folder: Path) -> None:
    client = QdrantClient(path=str(folder))
    cosine = models.VectorParams(size=2, distance=models.Distance.COSINE)
    client.create_collection("hints", vectors_config=cosine)
    for number, (old, hint) in enumerate(zip(OLD, HINTS, strict=True)):
        payload = {"hint": old, "number": number}
        point = models.PointStruct(id=point_id(hint.hint_id), vector=[1, number], payload=payload)
        client.upsert("hints", [point])
    client.close()


async def test_they_are_read_as_one_revision_and_go_on(tmp_path: Path) -> None:
    stored_before(tmp_path)
    async with await QdrantHintStore.open(tmp_path, 2, embedding_model="minilm") as store:
        assert await store.all() == HINTS
        (revision,) = await store.revisions()
        assert revision.number == 1
        assert revision.at.tzinfo is not None
        assert revision.hint_ids == tuple(hint.hint_id for hint in HINTS)
        assert [each.hint for each in await store.search([1.0, 0.0], 3)] == HINTS
        assert await store.add(HINTS[0], [1.0, 0.0]) is False
        assert await store.add(Hint(text="new"), [1.0, 0.0]) is True
        assert await store.change([HINTS[1].model_copy(update={"state": "retired"})], "no") == 3
        assert await store.as_of(1) == HINTS
    async with await QdrantHintStore.open(tmp_path, 2) as store:
        assert await store.as_of(1) == HINTS
        assert [hint.version for hint in await store.as_of(3)] == [1, 2, 1, 1]
        assert await store.roll_back(1) == 4
        assert [hint.text for hint in await store.all()] == [hint.text for hint in HINTS]


async def test_they_can_be_embedded_anew(tmp_path: Path) -> None:
    stored_before(tmp_path)
    info = await describe(tmp_path)
    assert info is not None
    assert (info.embedding_model, info.dimension, info.counts["admitted"]) == ("", 2, 3)

    async def embed(texts: object) -> list[list[float]]:
        return [[0.0, 0.0, 1.0]] * 3

    assert await reembed(tmp_path, embed, "new", 3) == 3
    async with await QdrantHintStore.open(tmp_path, 3, embedding_model="new") as store:
        assert {hint.embedding for hint in await store.all()} == {
            HintEmbedding(model="new", dimension=3)
        }
        assert await store.as_of(1) == HINTS
