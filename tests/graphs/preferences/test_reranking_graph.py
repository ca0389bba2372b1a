"""One preference text a session, and rankings that use it, with scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from testing.answering import (
    blocks_of,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    ranking_with,
    targets_of,
    task_of,
)

from agentrec.components import Components
from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.preferences.reranking_graph import RerankingContext, build_reranking_graph
from agentrec.graphs.recommendation.graph import (
    build_hint_choosing_graph,
    build_recommendation_graph,
)
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.policies.hint_policies.untrained import FixedHintPolicy
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSION = make_session(0)
HINT = Hint(text="Prefer old films.")
TEXT = "genre: war films\nperiod: the nineties (several)"
GRAPH = build_reranking_graph()
TARGETS = targets_of([make_session(number) for number in range(9)], make_catalog())

Answer = Callable[[Sequence[BaseMessage]], str]


def answering(text: str = TEXT) -> Answer:
    """Puts the target first for a prompt with a text, second under a hint, else fifth."""

    def answer(messages: Sequence[BaseMessage]) -> str:
        task, blocks = task_of(messages), blocks_of(messages)
        if task == "factors":
            return "genre\nperiod"
        if task == "preference":
            return text
        position = 1 if "preference" in blocks else 2 if "hint" in blocks else 5
        last = blocks["history"].splitlines()[-1].split(". ", 1)[1]
        return ranking_with(messages, TARGETS[last], position)

    return answer


def failing_at(task: str, **details: Any) -> Answer:
    def answer(messages: Sequence[BaseMessage]) -> str:
        if task_of(messages) == task:
            raise ModelCallError("the model is asleep", **details)
        return answering()(messages)

    return answer


def scripted(answer: Answer) -> ScriptedChatModel:
    return ScriptedChatModel([answer] * 40)


def gateway(model: ScriptedChatModel) -> ModelGateway:
    return ModelGateway(model, "writer", retries=RetryPolicy(max_attempts=1))


class Remembering:
    """A recommender that turns the candidates round, and remembers what it received."""

    def __init__(self) -> None:
        self.received: list[tuple[Session, str | None]] = []

    async def rank(self, session: Session, text: str | None) -> tuple[str, ...]:
        self.received.append((session, text))
        return session.candidates[::-1]


async def reranked(context: RerankingContext, **state: object) -> Any:
    with blockbuster_ctx():
        return await GRAPH.ainvoke({"session": SESSION, **state}, context=context)


async def test_the_model_ranks_with_the_text_it_wrote() -> None:
    model = scripted(answering())
    state = await reranked(RerankingContext(make_components(model)))
    assert set(state) == {"preference", "preference_failure", "model_ranking"}
    assert (state["preference"], state["preference_failure"]) == (TEXT, None)
    assert state["model_ranking"].rank_of(SESSION.target) == 1
    (prompt,) = prompts_of(model, "rank")
    assert prompt.count(f"<preference>\n{TEXT}\n</preference>") == 1
    assert "\n<hint>\n" not in prompt
    (asked,) = prompts_of(model, "preference")
    assert "genre\nperiod" in asked


@pytest.mark.parametrize("hint", [None, HINT])
@pytest.mark.parametrize("shuffles", [1, 3])
async def test_it_is_what_ranking_with_a_text_is(hint: Hint | None, shuffles: int) -> None:
    components = make_components(scripted(answering()), shuffles=shuffles)
    state = await reranked(RerankingContext(components), hint=hint)
    made = components.model.calls["made"]["recommend"]
    assert state["model_ranking"] == await rank(SESSION, hint, components, state["preference"])
    assert components.model.calls["made"]["recommend"] == made == shuffles
    assert state["model_ranking"].hint_id == (hint.hint_id if hint else None)


@pytest.mark.parametrize("node", ["write", "rank_by_model"])
async def test_a_checkpointer_goes_on_where_it_was_stopped(node: str) -> None:
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    context = RerankingContext(make_components(model := scripted(answering())))
    whole = await reranked(RerankingContext(make_components(scripted(answering()))), hint=HINT)
    before: Any = build_reranking_graph(checkpointer=saver)
    given = {"session": SESSION, "hint": HINT}
    await before.ainvoke(given, config, context=context, interrupt_before=[node])
    assert not prompts_of(model, "rank")
    asked = len(model.calls)
    after: Any = build_reranking_graph(checkpointer=saver)
    assert await after.ainvoke(None, config, context=context) == whole
    # The factors, the text and the ranking, none of them twice.
    assert (asked, len(model.calls)) == ({"write": 1, "rank_by_model": 2}[node], 3)


async def test_another_model_may_write() -> None:
    ranking, writing = scripted(answering("none: of this")), scripted(answering())
    context = RerankingContext(make_components(ranking), writer=gateway(writing))
    state = await reranked(context)
    assert state["preference"] == TEXT
    assert {task_of(call) for call in writing.calls} == {"factors", "preference"}
    assert {task_of(call) for call in ranking.calls} == {"rank"}
    # A catalogue's factors are asked for once.
    await GRAPH.ainvoke({"session": make_session(1)}, context=context)
    assert len(prompts_of(writing, "factors")) == 1


async def test_factors_that_are_given_are_not_asked_for() -> None:
    model = scripted(answering())
    await reranked(RerankingContext(make_components(model), factors=("mood",)))
    assert prompts_of(model, "factors") == []
    assert "mood" in prompts_of(model, "preference")[0]


async def test_the_recommender_is_told_the_text() -> None:
    recommender = Remembering()
    state = await reranked(
        RerankingContext(make_components(scripted(answering())), recommender=recommender), hint=HINT
    )
    assert recommender.received == [(SESSION, TEXT)]
    assert state["recommender_ranking"] == Ranking(
        session_id=SESSION.session_id, item_ids=SESSION.candidates[::-1]
    )
    assert state["model_ranking"].hint_id == HINT.hint_id


async def test_who_is_not_to_rank_is_not_asked() -> None:
    model, recommender = scripted(answering()), Remembering()
    context = RerankingContext(make_components(model), by_model=False, recommender=recommender)
    state = await reranked(context)
    assert set(state) == {"preference", "preference_failure", "recommender_ranking"}
    assert prompts_of(model, "rank") == []


@pytest.mark.parametrize("task", ["factors", "preference"])
async def test_without_a_text_all_rank_without(task: str) -> None:
    model, recommender = scripted(failing_at(task)), Remembering()
    components = make_components(model)
    context = RerankingContext(components, recommender=recommender)
    state = await reranked(context, hint=HINT)
    assert state["preference"] is None
    assert "asleep" in state["preference_failure"]
    assert state["model_ranking"] == await rank(SESSION, HINT, components)
    assert recommender.received == [(SESSION, None)]
    assert "<preference>" not in "".join(prompts_of(model, "rank"))


async def test_a_text_without_a_word_is_a_failure() -> None:
    state = await reranked(RerankingContext(make_components(scripted(answering("\x00")))))
    assert (state["preference"], state["preference_failure"]) == (None, "nothing was written")
    assert state["model_ranking"].rank_of(SESSION.target) == 5


@pytest.mark.parametrize("task", ["factors", "preference", "rank"])
async def test_a_spent_budget_ends_it(task: str) -> None:
    components = make_components(scripted(failing_at(task, kind="budget_spent")))
    with pytest.raises(ModelCallError, match="asleep") as raised:
        await reranked(RerankingContext(components, recommender=Remembering()))
    assert raised.value.kind == "budget_spent"


async def test_a_ranking_that_fails_is_told_as_everywhere() -> None:
    components = make_components(scripted(failing_at("rank")))
    with pytest.raises(ModelCallError, match="asleep"):
        await reranked(RerankingContext(components))


async def with_hint(components: Components) -> Components:
    await components.hint_store.add(HINT, components.embeddings.embed_query(HINT.text))
    return components


class _Both(TypedDict, total=False):
    session: Session
    hint: Hint | None
    ranking: Ranking
    preference: str | None
    model_ranking: Ranking
    recommender_ranking: Ranking


@pytest.mark.parametrize("recommending", [False, True])
async def test_it_goes_on_where_a_hint_was_chosen(recommending: bool) -> None:
    first = build_recommendation_graph() if recommending else build_hint_choosing_graph()
    both = StateGraph(_Both, context_schema=RerankingContext)
    both.add_node("first", first)
    both.add_node("rerank", build_reranking_graph())
    both.add_edge(START, "first")
    both.add_edge("first", "rerank")
    both.add_edge("rerank", END)
    graph = both.compile()
    model = scripted(answering())
    policy = FixedHintPolicy(HINT.hint_id)
    components = await with_hint(make_components(model, hint_policy=policy))
    context = RerankingContext(components, recommender=Remembering())
    sessions = [make_session(number) for number in range(5)]
    with blockbuster_ctx():
        states = await asyncio.gather(
            *(graph.ainvoke({"session": one}, context=context) for one in sessions)
        )
    for session, state in zip(sessions, states, strict=True):
        assert state["hint"] == HINT
        assert state["preference"] == TEXT
        assert (
            state["model_ranking"].session_id
            == state["recommender_ranking"].session_id
            == session.session_id
        )
        assert state["model_ranking"] == await rank(session, HINT, components, TEXT)
        assert ("ranking" in state) == recommending
        if recommending:
            assert state["ranking"].rank_of(session.target) == 2
    with_text = [prompt for prompt in prompts_of(model, "rank") if "<preference>" in prompt]
    assert len(with_text) == 5
    assert all(f"<hint>\n{HINT.text}\n</hint>" in prompt for prompt in with_text)


async def test_no_hint_is_handed_on_as_none() -> None:
    state = await build_hint_choosing_graph().ainvoke(
        {"session": SESSION}, context=await with_hint(make_components(scripted(answering())))
    )
    assert state["hint"] is None
    assert state["choice"].hint_id is None


async def test_a_node_of_ones_own_takes_the_place_of_another() -> None:
    async def remembered(state: object, runtime: object) -> dict[str, object]:
        return {"preference": "mood: dark", "preference_failure": None}

    model = scripted(answering())
    graph = build_reranking_graph({"write": remembered})
    state = await graph.ainvoke(
        {"session": SESSION}, context=RerankingContext(make_components(model))
    )
    assert state["preference"] == "mood: dark"
    assert "mood: dark" in prompts_of(model, "rank")[0]
    with pytest.raises(ValueError, match="no such node: writes"):
        build_reranking_graph({"writes": remembered})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"by_model": False}, "must rank"), ({"shown_share": 0}, "shown_share")],
)
def test_wrong_contexts_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RerankingContext(make_components(scripted(answering())), **wrong)


async def test_a_graph_without_its_parts_says_so() -> None:
    components = make_components(scripted(answering()))
    for context in (None, components):
        with pytest.raises(InputError, match="RerankingContext"):
            await GRAPH.ainvoke({"session": SESSION}, context=context)  # type: ignore[arg-type]
