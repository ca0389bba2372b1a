"""What the embedded model answers in a second, asked one by one and by many at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from statistics import median

import pytest
from embedded_model.planted import KINDS, Planted, factors, rank_prompt, text_prompt
from langchain_core.messages import BaseMessage

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.sessions import Session

ITEMS, CANDIDATES, CALLS, WAVES, ROUNDS = 1700, 50, 64, 5, 5


@pytest.fixture(scope="module")
def planted() -> Planted:
    kinds, rng = list(KINDS), random.Random(0)
    return Planted.of(
        Catalog(
            Item(
                item_id=f"i{n}",
                title=f"The {rng.choice(KINDS[kinds[n % 5]])} of {n}",
                attributes={"kind": kinds[n % 5], "made_in": 1950 + (n * 37) % 60},
            )
            for n in range(ITEMS)
        ),
        {f"i{n}": (n * n * 31) % 97 for n in range(ITEMS)},
    )


def session(planted: Planted, seed: int) -> Session:
    chosen = random.Random(seed).sample(planted.catalog.item_ids, CANDIDATES + 10)
    return Session(
        session_id=f"s{seed}",
        items=tuple(chosen[CANDIDATES:]),
        target=chosen[0],
        candidates=tuple(chosen[:CANDIDATES]),
    )


def asked(planted: Planted, kind: str) -> list[list[BaseMessage]]:
    """64 conversations."""
    if kind == "distinct sessions":
        return [rank_prompt(planted, session(planted, n), "Prefer kind war.") for n in range(CALLS)]
    if kind == "one session, many hints":
        phrases = [aspect.phrase for aspect in planted.aspects]
        hints = [f"Prefer {phrases[n % len(phrases)]} and kind war." for n in range(CALLS)]
        return [rank_prompt(planted, session(planted, 0), hint) for hint in hints]
    return [text_prompt("hints", planted, session(planted, n)) for n in range(CALLS)]


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["distinct sessions", "one session, many hints", "texts"])
async def test_sixty_four_at_once_against_one_by_one(planted: Planted, kind: str) -> None:
    assert factors(planted)
    chat = CatalogChatModel(catalog_model=planted.untrained())
    prompts = asked(planted, kind)
    ratios, alone, together = [], [], []
    for place in range(ROUNDS + 1):
        one, answers = await timed_one_by_one(chat, prompts)
        many, same = await timed_at_once(chat, prompts)
        assert answers * WAVES == same
        if place:  # the first round warms up
            alone.append(CALLS / one)
            together.append(CALLS * WAVES / many)
            ratios.append(together[-1] / alone[-1])
    print(
        f"\n{kind}: {median(alone):.0f} answers/s one by one, {median(together):.0f} with "
        f"{CALLS} at once, ratio {median(ratios):.1f} "
        f"(rounds: {', '.join(f'{ratio:.1f}' for ratio in ratios)})"
    )


async def timed_one_by_one(
    chat: CatalogChatModel, prompts: Sequence[list[BaseMessage]]
) -> tuple[float, list[str]]:
    begun = time.perf_counter()
    answers = [(await chat.ainvoke(messages)).text for messages in prompts]
    return time.perf_counter() - begun, answers


async def timed_at_once(
    chat: CatalogChatModel, prompts: Sequence[list[BaseMessage]]
) -> tuple[float, list[str]]:
    """All prompts several times over, never more in flight than there are prompts."""
    begun = time.perf_counter()
    free = asyncio.Semaphore(CALLS)

    async def answer(messages: list[BaseMessage]) -> str:
        async with free:
            return (await chat.ainvoke(messages)).text

    answers = await asyncio.gather(*(answer(messages) for messages in [*prompts] * WAVES))
    return time.perf_counter() - begun, answers
