"""Compose a graph of your own from agentrec's steps, with parts of your choice.

A shop wants two shelves from one session: what the model recommends as it is, and what it
recommends under a hint an editor wrote. Every step is a plain async function, so a node is a
line or two. Runs offline in under a minute: the language model is the embedded one, taught here
from a catalogue of forty mugs.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.data.item_features import discover_features
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.teaching.model_cache import Recipe, obtain_model
from agentrec.embedded_model.teaching.training import TrainingPlan
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.rankings import Ranking
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.session_encoding.item_vectors import item_text
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore

COLOURS = ("red", "blue", "green", "white")
EDITORS_HINT = Hint(text="Prefer colour red.")


class ShelfState(TypedDict, total=False):
    """Two rankings of one session."""

    session: Session
    usual: Ranking
    editors: Ranking


async def usual_shelf(state: ShelfState, runtime: Runtime[Components]) -> ShelfState:
    """Rank without a hint."""
    return {"usual": await rank(state["session"], None, runtime.context)}


async def editors_shelf(state: ShelfState, runtime: Runtime[Components]) -> ShelfState:
    """Rank under the editor's hint."""
    return {"editors": await rank(state["session"], EDITORS_HINT, runtime.context)}


def mugs() -> Catalog:
    """Forty mugs in four colours."""
    return Catalog(
        Item(
            item_id=str(n),
            title=f"{COLOURS[n % 4]} mug number {n}",
            attributes={"colour": COLOURS[n % 4], "size": 20 + n % 7},
        )
        for n in range(40)
    )


def choose_parts(folder: Path) -> Components:
    """The parts; each of them can be swapped for another."""
    catalog = mugs()
    embeddings = HashedWordEmbeddings(64)
    texts = [item_text(item) for item in catalog.values()]
    vectors = np.array(embeddings.embed_documents(texts), dtype=np.float32)
    features = discover_features(catalog, vectors, counts={})
    plan = TrainingPlan(steps=60, batch_size=24, list_batch_size=8, lists=4, list_size=16)
    recipe = Recipe(plan=plan)
    model = obtain_model(catalog, features, {}, folder, recipe, on_step=lambda done, of: None)
    return Components(
        catalog=catalog,
        model=ModelGateway(CatalogChatModel(catalog_model=model), model.name),
        prompts=Prompts.load(),
        embeddings=embeddings,
        encoder=RecencySessionEncoder(catalog, features, vectors),
        hint_store=InMemoryHintStore(64),
        hint_policy=NoHintPolicy(),
        list_length=5,
    )


async def main() -> None:
    """Build the graph once, run it on a session, print both shelves."""
    torch.set_num_threads(1)
    graph = StateGraph(ShelfState, context_schema=Components)
    graph.add_node("usual", usual_shelf)
    graph.add_node("editors", editors_shelf)
    graph.add_edge(START, "usual")
    graph.add_edge(START, "editors")
    graph.add_edge("usual", END)
    graph.add_edge("editors", END)
    shelves = graph.compile()
    session = Session(
        session_id="visitor-1",
        items=("1", "6", "11"),
        candidates=tuple(str(n) for n in range(12, 32)),
    )
    with tempfile.TemporaryDirectory() as folder:
        parts = await asyncio.to_thread(choose_parts, Path(folder))
        state = await shelves.ainvoke({"session": session}, context=parts)
    for shelf in ("usual", "editors"):
        print(shelf + ":", ", ".join(parts.catalog.labels[i] for i in state[shelf].item_ids))


if __name__ == "__main__":
    asyncio.run(main())
