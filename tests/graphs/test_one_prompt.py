"""One prompt for a session and a hint, wherever it is asked (defects 6, 8, 10, 11 and 13)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from testing.answering import (
    WRONG,
    candidates_of,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    world,
)

from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.components import Components
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

Way = Callable[[Components, Session], Awaitable[None]]

SESSION = make_session(0)
HINT = Hint(text="Prefer old films.")
SESSIONS = [make_session(n) for n in range(26)]


def model_for(count: int = 500) -> ScriptedChatModel:
    targets = targets_of(SESSIONS, make_catalog())
    return ScriptedChatModel([world(lambda hint, _: 1 if hint else WRONG, targets)] * count)


async def explored(components: Components, session: Session = SESSION) -> None:
    await build_hint_learning_graph().ainvoke({"session": session}, context=components)


async def rewarded(components: Components, session: Session = SESSION) -> None:
    await fill_reward_table([session], [HINT], components, 4, lambda: None)


async def used(components: Components, session: Session = SESSION) -> None:
    await components.hint_store.add(HINT, components.embeddings.embed_query(HINT.text))
    graph = build_recommendation_graph()
    for policy in (NoHintPolicy(), FixedHintPolicy(HINT.hint_id)):
        with_policy = replace(components, hint_policy=policy)
        await graph.ainvoke({"session": session}, context=with_policy)


async def test_exploration_rewards_and_use_ask_byte_for_byte_the_same() -> None:
    asked = []
    for way in (explored, rewarded, used):
        model = model_for()
        await way(make_components(model))
        asked.append(prompts_of(model, "rank"))
    assert [len(prompts) for prompts in asked] == [2, 2, 2]
    assert sorted(asked[0]) == sorted(asked[1]) == sorted(asked[2])
    without, with_hint = sorted(asked[0], key=len)
    assert with_hint.replace(f"<hint>\n{HINT.text}\n</hint>\n", "", 1).split() == without.split()


@pytest.mark.parametrize("way", [explored, rewarded, used])
async def test_whose_session_it_is_changes_no_prompt(way: Way) -> None:
    asked = []
    for user_id in (None, "visitor-4711"):
        model = model_for()
        await way(make_components(model), SESSION.model_copy(update={"user_id": user_id}))
        asked.append([[message.text for message in messages] for messages in model.calls])
    assert asked[0] == asked[1]
    assert asked[0]


async def test_nothing_is_asked_twice_over_a_whole_loop() -> None:
    model = model_for()
    components = make_components(model)
    await explored(components)
    for _ in range(2):
        await asyncio.gather(
            *(fill_reward_table(SESSIONS, [HINT], components, 8, lambda: None) for _ in range(2))
        )
    await used(components)
    prompts = Counter(str([(m.type, m.text) for m in messages]) for messages in model.calls)
    assert set(prompts.values()) == {1}
    # Sessions x (no hint + hints), and the three steps of reflection: the paper's 119 times none.
    assert len(model.calls) == 2 * len(SESSIONS) + 3


async def test_the_place_of_the_target_differs_from_session_to_session() -> None:
    same = [SESSION.model_copy(update={"session_id": f"run-{n}"}) for n in range(300)]
    model = model_for(300)
    components = make_components(model)
    await fill_reward_table(same, [], components, 50, lambda: None)
    label = components.catalog.labels[SESSION.target or ""]
    positions = Counter(
        [shown for _, shown in candidates_of(messages)].index(label) for messages in model.calls
    )
    assert len(positions) == len(SESSION.candidates)
    assert max(positions.values()) < 4 * 300 / len(SESSION.candidates)


async def test_the_order_does_not_depend_on_how_candidates_are_listed() -> None:
    turned = SESSION.model_copy(update={"candidates": SESSION.candidates[::-1]})
    model = model_for()
    components = make_components(model)
    await fill_reward_table([SESSION], [], components, 1, lambda: None)
    await fill_reward_table([turned], [], components, 1, lambda: None)
    assert len(model.calls) == 1


@pytest.mark.parametrize("seed", [0, 1])
async def test_another_seed_is_another_order(seed: int) -> None:
    model = model_for()
    await fill_reward_table([SESSION], [], make_components(model, seed=seed), 1, lambda: None)
    await fill_reward_table([SESSION], [], make_components(model, seed=seed + 1), 1, lambda: None)
    assert candidates_of(model.calls[0]) != candidates_of(model.calls[1])


async def test_two_films_of_one_title_are_told_apart() -> None:
    session = SESSION.model_copy(update={"target": "i13"})
    targets = {"Toy Story": "Hamlet (1983)"}
    model = ScriptedChatModel([world(lambda hint, _: 1 if hint else WRONG, targets)] * 2)
    table = await fill_reward_table([session], [HINT], make_components(model), 4, lambda: None)
    shown = [label for _, label in candidates_of(model.calls[0])]
    assert {"Hamlet (1982)", "Hamlet (1983)"} <= set(shown)
    assert len(set(shown)) == len(shown)
    assert table.ndcg.tolist() == [[0.0, 1.0]]


async def test_no_hint_is_column_zero_whatever_the_hints() -> None:
    hints = [HINT, Hint(text="Avoid sequels.")]
    model = model_for()
    components = make_components(model)
    for ordered in (hints, hints[::-1]):
        table = await fill_reward_table(SESSIONS, ordered, components, 8, lambda: None)
        assert table.hint_ids == tuple(hint.hint_id for hint in ordered)
        assert table.ndcg[:, 0].max() == 0.0
        assert table.ndcg[:, 1:].min() == 1.0
        assert table.session_ids == tuple(session.session_id for session in SESSIONS)
