"""What the guides show of programs works as they say, with parts that are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docs.test_documentation import fences
from langchain_core.messages import BaseMessage
from testing.answering import (
    blocks_of,
    make_components,
    make_session,
    prompts_of,
    ranking_with,
    task_of,
)

from agentrec.graphs.preference_reranking import RerankingOutput
from agentrec.hints import Hint
from agentrec.policies.fixed import FixedHintPolicy
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HINT = Hint(text="Prefer old films.")


def program(holding: str) -> dict[str, Any]:
    """The one program of the guides that holds a text, run."""
    (code,) = (code for _, code in fences("python") if holding in code)
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec", dont_inherit=True), names)
    return names


async def test_hint_and_preference_are_in_one_prompt() -> None:
    def answer(messages: Sequence[BaseMessage]) -> str:
        if task_of(messages) == "preference":
            return "year: the seventies"
        if task_of(messages) == "factors":
            return "year\ntitle"
        assert {"hint", "preference"} <= set(blocks_of(messages))
        return ranking_with(messages, "Heat", 1)

    class Turning:
        async def rank(self, session: Session, text: str | None) -> tuple[str, ...]:
            assert text == "year: the seventies"
            return session.candidates[::-1]

    model = ScriptedChatModel([answer] * 3)
    components = make_components(model, hint_policy=FixedHintPolicy(HINT.hint_id))
    await components.hint_store.add(HINT, components.embeddings.embed_query(HINT.text))
    guide = program("def build_hint_and_preference_graph")
    graph, session = guide["build_hint_and_preference_graph"](), make_session(0)
    state = await guide["ranked"](graph, session, components, recommender=Turning())
    assert state["hint"] == HINT
    assert state["reranked"].item_ids[0] == session.target
    assert state["told"].item_ids == session.candidates[::-1]
    assert len(prompts_of(model, "rank")) == 1
    told = set(guide["HintAndPreference"].__annotations__)
    assert told - {"session", "hint"} <= set(RerankingOutput.__annotations__)
