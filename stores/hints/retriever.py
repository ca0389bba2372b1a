"""A knowledge base as a LangChain retriever."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SkipValidation

from agentrec.contracts import HintStore
from agentrec.errors import InputError
from agentrec.hints import ADMITTED, HintState, ScoredHint


class HintRetriever(BaseRetriever):
    """Finds the hints nearest to a query, most similar first.

    A document holds the hint's text. Its metadata are JSON values: ``hint_id``, ``similarity``
    (-1 to 1), ``state``, ``evidence`` and ``provenance`` (``None`` if unknown).

    Attributes:
        store: The knowledge base.
        embeddings: The embeddings it was made with.
        k: Maximum number of hints, at least 1; a call may override it.
        states: States of the hints to find.
    """

    # Pydantic cannot check instances of this Protocol.
    store: SkipValidation[HintStore]
    embeddings: Embeddings
    k: int = Field(default=4, ge=1)
    states: tuple[HintState, ...] = ADMITTED

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
    ) -> list[Document]:
        return await self._nearest(query, k)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._nearest(query, k))
        raise InputError("an event loop is running here: await ainvoke() instead of invoke()")

    async def _nearest(self, query: str, k: int | None) -> list[Document]:
        vector = await self.embeddings.aembed_query(query)
        found = await self.store.search(vector, self.k if k is None else k, self.states)
        return [as_document(scored) for scored in found]


def as_document(scored: ScoredHint) -> Document:
    """Turn a found hint into a document."""
    hint = scored.hint
    metadata: dict[str, Any] = {
        "hint_id": hint.hint_id,
        "similarity": scored.similarity,
        "state": hint.state,
        "evidence": None,
        "provenance": None,
    }
    if hint.evidence is not None:
        metadata["evidence"] = hint.evidence.model_dump(exclude={"effects"}) | {
            "ties": hint.evidence.ties
        }
    if hint.provenance is not None:
        metadata["provenance"] = hint.provenance.model_dump(
            include={"session_id", "model", "run", "diagnosis"}
        )
    return Document(id=hint.hint_id, page_content=hint.text, metadata=metadata)
