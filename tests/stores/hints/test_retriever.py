from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintEvidence, HintProvenance
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.stores.hints.retriever import HintRetriever

EMBEDDINGS = HashedWordEmbeddings(64)
HINTS = [
    Hint(
        text="Prefer old comedies.",
        provenance=HintProvenance(
            session_id="s1", model="m", prompt_hash="p", run="r", ndcg_before=0, ndcg_after=1
        ),
        evidence=HintEvidence.of({"a": 0.5, "b": 0.0, "c": -0.1}, model="m"),
    ),
    Hint(text="Prefer new comedies.", state="retired"),
    Hint(text="Prefer war films."),
    Hint(text="Prefer long films."),
    Hint(text="Prefer short films."),
]


async def filled() -> InMemoryHintStore:
    store = InMemoryHintStore(64)
    vectors = await EMBEDDINGS.aembed_documents([hint.text for hint in HINTS])
    await store.add_many(HINTS, vectors)
    return store


class TestAsLangChainHasIt(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HintRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": asyncio.run(filled()), "embeddings": EMBEDDINGS}

    @property
    def retriever_query_example(self) -> str:
        return "old comedies"


async def test_a_document_says_what_is_known_of_the_hint() -> None:
    retriever = HintRetriever(store=await filled(), embeddings=EMBEDDINGS, k=2)
    first, second = await retriever.ainvoke("Prefer old comedies.")
    assert first.page_content == "Prefer old comedies."
    assert first.id == first.metadata["hint_id"] == HINTS[0].hint_id
    assert first.metadata["similarity"] == 1.0 > second.metadata["similarity"]
    assert first.metadata["state"] == "admitted"
    assert first.metadata["evidence"]["mean_gain"] == pytest.approx(0.4 / 3)
    counts = {name: first.metadata["evidence"][name] for name in ("wins", "ties", "losses")}
    assert counts == {"wins": 1, "ties": 1, "losses": 1}
    assert "effects" not in first.metadata["evidence"]
    assert first.metadata["provenance"]["run"] == "r"
    assert second.metadata["provenance"] is second.metadata["evidence"] is None
    assert json.loads(json.dumps(first.metadata)) == first.metadata


async def test_retired_hints_come_only_where_they_are_asked_for() -> None:
    store = await filled()
    found = await HintRetriever(store=store, embeddings=EMBEDDINGS).ainvoke("new comedies", k=9)
    assert [document.page_content for document in found if "new" in document.page_content] == []
    assert len(found) == 4
    retriever = HintRetriever(store=store, embeddings=EMBEDDINGS, states=STATES)
    assert (await retriever.ainvoke("new comedies"))[0].metadata["state"] == "retired"


async def test_a_blocking_call_inside_a_running_loop_says_what_to_do() -> None:
    retriever = HintRetriever(store=await filled(), embeddings=EMBEDDINGS)
    with pytest.raises(InputError, match="ainvoke"):
        retriever.invoke("old comedies")


def test_at_least_one_document_is_asked_for() -> None:
    with pytest.raises(ValueError, match="k\n"):
        HintRetriever(store=asyncio.run(filled()), embeddings=EMBEDDINGS, k=0)
