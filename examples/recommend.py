"""Recommend from a folder of items in ten lines, offline, with the embedded model."""

import asyncio
import json
from pathlib import Path

import agentrec

COLOURS = ("red", "blue", "green", "white")


async def main(shop: Path) -> None:
    """Open a recommender and rank the candidates of every session of a file."""
    async with agentrec.open_recommender(
        catalog=shop / "items.jsonl",
        llm="embedded",  # or "openai:gpt-4o-mini", or any LangChain chat model
        embeddings="hashed",  # or "minilm", "openai:text-embedding-3-small", any Embeddings
        hints=":memory:",  # or a folder, or "http://localhost:6333"
        settings={"lm_steps": 60},  # a quick training for a small catalogue
    ) as recommender:
        async for result in recommender.stream(agentrec.read_sessions(shop / "today.jsonl")):
            titles = recommender.components.catalog.labels
            print(result.session.session_id, [titles[i] for i in result.ranking.item_ids[:3]])


def write_shop(shop: Path) -> None:
    """Write forty mugs and three sessions."""
    items = [
        {"item_id": str(n), "title": f"{COLOURS[n % 4]} mug {n}", "colour": COLOURS[n % 4]}
        for n in range(40)
    ]
    sessions = [
        {"session_id": f"s{n}", "items": [str(n)], "candidates": [str(c) for c in range(10, 30)]}
        for n in range(3)
    ]
    for name, rows in (("items", items), ("today", sessions)):
        (shop / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_shop(Path())
    asyncio.run(main(Path()))
