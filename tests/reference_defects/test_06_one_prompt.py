"""06: the same hint is put into three different prompts, and no hint is an empty "Hint:"."""

from __future__ import annotations

from dataclasses import replace

from testing.answering import (
    WRONG,
    make_catalog,
    make_components,
    make_session,
    targets_of,
    task_of,
    world,
)

from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSION = make_session(0)
HINT = Hint(text="Prefer old films.")


def scripted() -> ScriptedChatModel:
    """Repaired by the hint, so that exploration tries it; it proposes that very hint."""
    targets = targets_of([SESSION], make_catalog())
    answer = world(lambda hint, _: 1 if hint else WRONG, targets, [HINT.text])
    return ScriptedChatModel([answer] * 10)


def rank_prompts(model: ScriptedChatModel) -> set[tuple[str, ...]]:
    """Every message of every conversation in which the model was asked to rank."""
    return {
        tuple(message.text for message in messages)
        for messages in model.calls
        if task_of(messages) == "rank"
    }


async def test_06_exploration_rewards_and_use_put_a_hint_into_one_and_the_same_prompt() -> None:
    exploring, rewarding, using = scripted(), scripted(), scripted()
    context = make_components(exploring)
    await build_hint_learning_graph().ainvoke({"session": SESSION}, context=context)
    await fill_reward_table([SESSION], [HINT], make_components(rewarding), 2, lambda: None)
    context = make_components(using)
    await context.hint_store.add(HINT, context.embeddings.embed_query(HINT.text))
    for policy in (NoHintPolicy(), FixedHintPolicy(HINT.hint_id)):
        await build_recommendation_graph().ainvoke(
            {"session": SESSION}, context=replace(context, hint_policy=policy)
        )
    asked = rank_prompts(exploring)
    assert len(asked) == 2
    assert rank_prompts(rewarding) == asked
    assert rank_prompts(using) == asked


async def test_06_no_hint_leaves_no_trace_in_the_question() -> None:
    model = scripted()
    await fill_reward_table([SESSION], [HINT], make_components(model), 1, lambda: None)
    without, with_hint = sorted(
        (messages[-1].text for messages in model.calls), key=lambda text: HINT.text in text
    )
    assert "hint" not in without.casefold()
    assert with_hint.count(HINT.text) == 1
    assert with_hint.replace(f"\n<hint>\n{HINT.text}\n</hint>\n", "") == without
