"""Stopping a graph of ours before a node, and going on with it, by a LangGraph checkpointer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from testing.answering import make_catalog, make_components, make_session, targets_of, world

from agentrec.components import Components
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import FixedHintPolicy
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HINT = Hint(text="Prefer old films.")
SESSION = make_session(0)
NODES = ["retrieve", "choose", "recommend", "ground"]


async def fresh_components() -> tuple[Components, ScriptedChatModel]:
    targets = targets_of([SESSION], make_catalog())
    model = ScriptedChatModel([world(lambda hint, _: 1 if hint else 3, targets)] * 10)
    components = make_components(model, hint_policy=FixedHintPolicy(HINT.hint_id))
    await components.hint_store.add(HINT, components.embeddings.embed_query(HINT.text))
    return components, model


async def ranked_in_steps(saver: InMemorySaver) -> Any:
    """The ranking of a graph that is stopped before each node and gone on with by another one."""
    components, model = await fresh_components()
    given: dict[str, object] | None = {"session": SESSION}
    config: Any = {"configurable": {"thread_id": "one"}}
    for node in NODES:
        graph = build_recommendation_graph(saver)
        await graph.ainvoke(given, config, context=components, interrupt_before=[node])  # type: ignore[arg-type]
        assert (await graph.aget_state(config)).next == (node,)
        given = None
    state: Any = await build_recommendation_graph(saver).ainvoke(None, config, context=components)
    assert len(model.calls) == 1
    return state["ranking"]


@pytest.mark.parametrize("node", NODES)
async def test_what_is_gone_on_with_comes_to_the_same(node: str) -> None:
    components, model = await fresh_components()
    whole = await build_recommendation_graph().ainvoke({"session": SESSION}, context=components)
    assert whole["ranking"].hint_id == HINT.hint_id
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    before = build_recommendation_graph(saver)
    components, model = await fresh_components()
    await before.ainvoke(
        {"session": SESSION},
        config,  # type: ignore[arg-type]
        context=components,
        interrupt_before=[node],
    )
    assert len(model.calls) == (node == "ground")
    after = build_recommendation_graph(saver)
    state = await after.ainvoke(None, config, context=components)  # type: ignore[call-overload]
    assert state["ranking"] == whole["ranking"]
    assert len(model.calls) == 1


def test_nothing_but_its_own_types_has_to_be_read() -> None:
    ran = subprocess.run(
        [sys.executable, __file__],
        env=os.environ
        | {
            "LANGGRAPH_STRICT_MSGPACK": "true",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [HINT.hint_id]
    assert "msgpack" not in ran.stderr


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(ranked_in_steps(InMemorySaver())).hint_id)
