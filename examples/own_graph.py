"""Compose a graph of your own from agentrec's steps.

A shop wants two shelves from one session: what the model recommends as it is, and what it
recommends under a hint that an editor wrote. Every step is a plain async function, so a node is a
line or two. Runs offline in under a minute: the language model is the embedded one, trained here
on a catalogue of forty mugs.
"""

from __future__ import annotations

import asyncio
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agentrec import Components, Hint, Item, Ranking, Session, open_recommender
from agentrec.graphs.recommendation.ranking import rank

COLOURS = ("red", "blue", "green", "white")
MUGS = [
    Item(
        item_id=str(n),
        title=f"{COLOURS[n % 4]} mug number {n}",
        attributes={"colour": COLOURS[n % 4], "size": 20 + n % 7},
    )
    for n in range(40)
]
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


async def main() -> None:
    """Build the graph once, run it on a session, print both shelves."""
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
    async with open_recommender(
        catalog=MUGS, embeddings="hashed", list_length=5, settings={"lm_steps": 60}
    ) as recommender:
        context = recommender.components
        state = await shelves.ainvoke({"session": session}, context=context)
    for shelf in ("usual", "editors"):
        print(shelf + ":", ", ".join(context.catalog.labels[i] for i in state[shelf].item_ids))


if __name__ == "__main__":
    asyncio.run(main())
