import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import (
    DIMENSION,
    WRONG,
    blocks_of,
    last_item,
    make_catalog,
    make_components,
    make_session,
    ranking_with,
    targets_of,
    task_of,
    world,
)

from agentrec.app.learning.exploration import Exploration, explore
from agentrec.components import Components
from agentrec.errors import ModelCallError
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(n) for n in range(12)]
TARGETS = targets_of(SESSIONS, make_catalog())
GRAPH = build_hint_learning_graph()
VERBS = ("Prefer", "Avoid", "Weigh", "Doubt", "Seek", "Fear")


class UnevenModel(ScriptedChatModel):
    """Calls take random times, so that sessions finish in any order."""

    seed: int = 0

    async def _agenerate(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        await asyncio.sleep(random.Random(f"{self.seed}{len(self.calls)}").uniform(0, 0.006))
        return await super()._agenerate(*args, **kwargs)  # type: ignore[arg-type]


class SlowFor(ScriptedChatModel):
    """One session's calls take so long that all others wait for their turn by then."""

    last_item: str = ""

    async def _agenerate(self, messages, *args, **kwargs):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0.03 if last_item(messages) == self.last_item else 0)
        return await super()._agenerate(messages, *args, **kwargs)


def answer(messages: Sequence[BaseMessage]) -> str:
    """Every third session is right; neighbours propose the same hint and one of their own."""
    number = list(TARGETS).index(last_item(messages))
    task = task_of(messages)
    if task == "rank":
        right = number % 3 == 0 or blocks_of(messages).get("hint")
        return ranking_with(messages, TARGETS[last_item(messages)], 1 if right else WRONG)
    if task == "hints":
        return f"1. {VERBS[number // 2]} sequels.\n2. Trust number {'x' * (number + 1)}."
    return f"A {task}."


async def explored(components: Components, concurrency: int = 12) -> Exploration:
    return await asyncio.wait_for(
        explore(
            SESSIONS, components, GRAPH, concurrency, lambda: None, probes=SESSIONS, num_probes=0
        ),
        20,
    )


def uneven(seed: int) -> UnevenModel:
    model = UnevenModel([answer] * 200)
    model.seed = seed
    return model


@pytest.mark.parametrize("max_hints", [20, 4])
async def test_what_is_stored_does_not_depend_on_who_finishes_first(max_hints: int) -> None:
    results = []
    for seed, concurrency in ((1, 1), (2, 3), (3, 12), (4, 12), (5, 12)):
        components = make_components(uneven(seed), max_hints=max_hints)
        results.append((await explored(components, concurrency)).hints)
    assert len(set(results)) == 1
    sources = [hint.provenance.session_id for hint in results[0] if hint.provenance]
    assert sources == sorted(sources, key=lambda i: int(i[1:]))
    # Of 8 errors: 6 hints that some share, and 8 of their own.
    assert len(sources) == min(max_hints, 14)


async def test_right_sessions_hold_nobody_up() -> None:
    model = ScriptedChatModel([world(lambda *_: 1, TARGETS)] * 20)
    exploration = await explored(make_components(model), 3)
    assert (exploration.explored, exploration.errors, exploration.hints) == (12, 0, ())


@pytest.mark.parametrize("broken", [1, 2, 5, 10])
async def test_a_failure_ends_it_and_going_on_gives_what_it_would_have_given(broken: int) -> None:
    expected = (await explored(make_components(uneven(0)))).hints
    failing = list(TARGETS)[broken]
    down = True

    def sometimes(messages: Sequence[BaseMessage]) -> str:
        if down and last_item(messages) == failing and task_of(messages) != "rank":
            raise ConnectionResetError("gone")
        return answer(messages)

    model = SlowFor([sometimes] * 300)
    model.last_item = failing
    components = make_components(model)
    with pytest.raises(ModelCallError):
        await explored(components)
    stored = await components.hint_store.all()
    # Nothing overtook the session that failed.
    assert all(int(h.provenance.session_id[1:]) < broken for h in stored if h.provenance)
    down = False
    assert (await explored(components)).hints == expected


async def test_going_on_asks_nothing_that_was_answered() -> None:
    model = ScriptedChatModel([answer] * 200)
    components = make_components(model)
    first = await explored(components)
    asked = len(model.calls)
    assert asked == len({components.model.key(messages) for messages in model.calls})
    again = await explored(components)
    assert len(model.calls) == asked
    assert again.hints == first.hints
    # The same answers with an empty knowledge base give the same hints too.
    fresh = replace(components, hint_store=InMemoryHintStore(DIMENSION))
    assert (await explored(fresh)).hints == first.hints
    assert len(model.calls) == asked


async def test_what_is_not_needed_any_more_is_not_looked_at() -> None:
    model = ScriptedChatModel([answer] * 200)
    components = make_components(model, max_hints=1)
    exploration = await explored(components, 1)
    assert (exploration.explored, exploration.errors) == (2, 1)
    assert len(exploration.hints) == 1


async def test_errors_and_refusals_are_counted() -> None:
    exploration = await explored(make_components(uneven(0)))
    assert (exploration.explored, exploration.errors) == (12, 8)
    stored, refused = len(exploration.hints), sum(exploration.refusals.values())
    assert stored + refused == 2 * exploration.errors
    assert set(exploration.refusals) == {"says what a stored hint says"}


async def test_a_hint_is_tried_on_other_sessions_like_its_own() -> None:
    seen: dict[str, set[str]] = {}

    def watching(messages: Sequence[BaseMessage]) -> str:
        blocks = blocks_of(messages)
        if task_of(messages) == "rank" and "hint" in blocks:
            seen.setdefault(blocks["hint"], set()).add(last_item(messages))
        return answer(messages)

    components = make_components(ScriptedChatModel([watching] * 400))
    await explore(SESSIONS[:2], components, GRAPH, 4, lambda: None, SESSIONS, num_probes=3)
    labels = components.catalog.labels
    own = labels[SESSIONS[1].items[-1]]
    for probed in seen.values():
        assert own in probed
        assert len(probed) == 1 + 3
