"""A package of somebody else's that brings a part to every group of entry points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import BaseModel

from agentrec import Catalog, Components, Session
from agentrec.contracts import HintStore
from agentrec.policies.hint_policies.untrained import NearestHintPolicy, NearestHintTrainer
from agentrec.policies.policy_kinds import PolicyKind
from agentrec.preferences import PreferenceReward
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.opening import open_hint_store as open_ours


def open_embeddings(text: str) -> HashedWordEmbeddings:
    return HashedWordEmbeddings(int(text or 16))


@asynccontextmanager
async def open_hint_store(
    location: str, dimension: int, embedding_model: str
) -> AsyncIterator[HintStore]:
    async with await open_ours(
        location or ":memory:", dimension, embedding_model=embedding_model
    ) as store:
        yield store


class Settings(BaseModel):
    boldness: int = 1


class BoldTrainer(NearestHintTrainer):
    def __init__(self, settings: Settings) -> None:
        super().__init__()


class BoldPolicy(NearestHintPolicy):
    kind = "acme"


POLICY_KIND = PolicyKind(
    "acme_agentrec:BoldPolicy", "acme_agentrec:BoldTrainer", "acme_agentrec:Settings"
)


class CheapestItems:
    def __init__(self, catalog: Catalog) -> None:
        self._ids = sorted(
            catalog.item_ids, key=lambda i: float(str(catalog[i].attributes["price"]))
        )

    def generate_many(self, sessions: Sequence[Session], count: int) -> list[tuple[str, ...]]:
        return [tuple(i for i in self._ids if i not in s.items)[:count] for s in sessions]


class LengthReward:
    parameter_hash = "acme-1"

    def __init__(self, components: Components) -> None:
        self.catalog = components.catalog

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward]]:
        return [[PreferenceReward(value=len(text) / 100) for text in some] for some in texts]
