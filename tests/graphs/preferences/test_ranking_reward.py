"""Rewards of texts by the rankings that a scripted model makes of a session, with the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import TITLES, blocks_of, candidates_of, make_catalog, make_components

from agentrec.components import Components
from agentrec.contracts import RewardModel
from agentrec.errors import ModelCallError
from agentrec.graphs.preferences.ranking_reward import RankingRewardModel
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

Answer = Callable[[Sequence[BaseMessage]], str]

SESSION = Session(
    session_id="s",
    items=("i0", "i1", "i2", "i3"),
    target="i4",
    candidates=tuple(f"i{n}" for n in range(4, 12)),
)
OTHER = Session(
    session_id="t",
    items=("i14", "i15"),
    target="i16",
    candidates=tuple(f"i{n}" for n in range(16, 24)),
)
# Of ten candidates, two of them from the history, and a list of six.
NUM_CANDIDATES = 10
LISTED = 6
BEFORE = {"i4": 3, "i2": 6}
GOOD, MIDDLING, BAD = "genre: war", "genre: love", "genre: music"
RANKS: Mapping[str | None, Mapping[str, int]] = {
    None: BEFORE,
    GOOD: {"i4": 1, "i2": 2, "i3": 3},
    MIDDLING: {"i4": 2, "i2": 4},
    BAD: {},
}
BEFORE_LOG = (math.log(3) + math.log(6) + math.log(NUM_CANDIDATES)) / 3


def ranked(ranks: Mapping[str | None, Mapping[str, int]] = RANKS) -> Answer:
    """Puts what is relevant where a text says, and nothing relevant anywhere else."""
    labels = make_catalog().labels
    relevant = {labels[one] for one in ("i2", "i3", "i4", "i15", "i16")}

    def answer(messages: Sequence[BaseMessage]) -> str:
        handles = {label: handle for handle, label in candidates_of(messages)}
        wanted = {rank: labels[one] for one, rank in ranks[text_in(messages)].items()}
        at = {rank: label for rank, label in wanted.items() if label in handles}
        others = iter([label for label in handles if label not in relevant])
        order = [at.get(rank) or next(others) for rank in range(1, LISTED + 1)]
        return "\n".join(
            f"{n}. {handles[label]} | {label}" for n, label in enumerate(order, start=1)
        )

    return answer


def text_in(messages: Sequence[BaseMessage]) -> str | None:
    return blocks_of(messages).get("preference")


def scripted(answer: Answer | None = None) -> ScriptedChatModel:
    return ScriptedChatModel([answer or ranked()] * 40)


def fresh_components(model: ScriptedChatModel) -> Components:
    return make_components(model, list_length=LISTED)


def rewarding(model: ScriptedChatModel, **given: object) -> RewardModel:
    options: dict[str, object] = {"shown_share": 0.5, **given}
    return RankingRewardModel(fresh_components(model), **options)  # type: ignore[arg-type]


def close(reward: PreferenceReward | None, value: float, margin: float) -> bool:
    return reward is not None and reward.order == pytest.approx((value, margin))


async def test_rewards_are_those_that_are_computed_by_hand() -> None:
    model = scripted()
    [[good, middling, bad]] = await rewarding(model).score([SESSION], [[GOOD, MIDDLING, BAD]])
    assert close(good, 1, BEFORE_LOG - math.log(6) / 3)
    gain = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)
    precision = (1 / 2 + 2 / 4) / 3
    after = (math.log(2) + math.log(4) + math.log(NUM_CANDIDATES)) / 3
    assert close(middling, (gain + precision) / 2, BEFORE_LOG - after)
    assert close(bad, 0, BEFORE_LOG - math.log(NUM_CANDIDATES))
    # One call a text, and one without any.
    assert sorted(text_in(call) or "" for call in model.calls) == sorted(["", GOOD, MIDDLING, BAD])


async def test_the_target_alone_may_be_what_is_relevant() -> None:
    rewards = await rewarding(scripted(), relevant="target").score([SESSION], [[GOOD, MIDDLING]])
    assert close(rewards[0][0], 1, math.log(3))
    assert close(rewards[0][1], (1 / math.log2(3) + 1 / 2) / 2, math.log(3) - math.log(2))


async def test_what_stands_behind_the_cutoff_is_worth_nothing() -> None:
    rewards = await rewarding(scripted(), cutoff=2).score([SESSION], [[GOOD, MIDDLING]])
    assert close(rewards[0][0], 1, BEFORE_LOG - math.log(6) / 3)
    gain = 1 / math.log2(3) / (1 + 1 / math.log2(3))
    second = rewards[0][1]
    assert second is not None
    assert second.value == pytest.approx((gain + 1 / 4) / 2)


@pytest.mark.parametrize(
    ("relevant", "shown", "num_candidates"),
    [("rest", TITLES[:2], NUM_CANDIDATES), ("target", TITLES[:4], 8)],
)
async def test_the_model_sees_no_more_of_the_history_than_the_text_was_written_from(
    relevant: str, shown: Sequence[str], num_candidates: int
) -> None:
    model = scripted()
    await rewarding(model, relevant=relevant).score([SESSION], [[GOOD]])
    assert len(model.calls) == 2
    for call in model.calls:
        history = blocks_of(call)["history"].splitlines()
        assert [line.split(". ")[1].split(" (")[0] for line in history] == list(shown)
        assert len(candidates_of(call)) == num_candidates


async def test_rewards_come_in_the_shape_of_the_texts_and_do_not_depend_on_the_others() -> None:
    model = rewarding(scripted())
    texts = [[GOOD, BAD, GOOD], [], [MIDDLING]]
    many = await model.score([SESSION, SESSION, SESSION], texts)
    assert [len(each) for each in many] == [3, 0, 1]
    assert many[0][0] == many[0][2] != many[0][1]
    for own, given in zip(many, texts, strict=True):
        for reward, text in zip(own, given, strict=True):
            assert await rewarding(scripted()).score([SESSION], [[text]]) == [[reward]]
    assert await model.score([], []) == []


async def test_an_empty_text_is_none() -> None:
    model = scripted()
    [[nothing]] = await rewarding(model).score([SESSION], [[""]])
    assert nothing is not None
    assert nothing.margin == 0
    assert len(model.calls) == 1


async def test_the_same_rankings_are_not_paid_for_again() -> None:
    model = scripted()
    reward_model = rewarding(model)
    first = await reward_model.score([SESSION], [[GOOD]])
    assert await reward_model.score([SESSION], [[GOOD]]) == first
    assert len(model.calls) == 2


def failing(fails: Callable[[Sequence[BaseMessage]], bool]) -> ScriptedChatModel:
    answer = ranked({**RANKS, None: {**BEFORE, "i16": 4}})

    def answered(messages: Sequence[BaseMessage]) -> str:
        if fails(messages):
            raise ValueError("the model is asleep")
        return answer(messages)

    return scripted(answered)


async def test_a_failed_call_costs_one_text_its_reward_and_the_others_nothing() -> None:
    texts = [[GOOD, MIDDLING, BAD]]
    whole = await rewarding(scripted()).score([SESSION], texts)
    model = failing(lambda messages: text_in(messages) == MIDDLING)
    [found] = await rewarding(model).score([SESSION], texts)
    assert list(found) == [whole[0][0], None, whole[0][2]]


async def test_without_a_ranking_to_compare_with_no_text_of_the_session_has_a_reward() -> None:
    def fails(messages: Sequence[BaseMessage]) -> bool:
        return text_in(messages) is None and "Toy Story" in blocks_of(messages)["history"]

    mine, other = await rewarding(failing(fails)).score([SESSION, OTHER], [[GOOD, BAD], [BAD]])
    assert list(mine) == [None, None]
    [reward] = other
    # Two of nine candidates are relevant: one stood at rank 4 before, and none is named after.
    assert close(reward, 0, (math.log(4) - math.log(9)) / 2)


async def test_a_spent_budget_is_no_failure_of_one_text() -> None:
    answer = ranked()

    def spent(messages: Sequence[BaseMessage]) -> str:
        if text_in(messages) == MIDDLING:
            raise ModelCallError("nothing is left", kind="budget_spent")
        if text_in(messages) == BAD:
            raise ValueError("the model is asleep")
        return answer(messages)

    with pytest.raises(ModelCallError, match="nothing is left") as caught:
        await rewarding(scripted(spent)).score([SESSION], [[GOOD, BAD, MIDDLING]])
    assert caught.value.kind == "budget_spent"


async def test_what_cannot_be_scored_is_refused_before_anything_is_asked() -> None:
    model = scripted()
    with pytest.raises(ValueError, match="2 sessions need as many lists, not 1"):
        await rewarding(model).score([SESSION, SESSION], [[GOOD]])
    for change in ({"target": None}, {"candidates": ()}):
        with pytest.raises(ValueError, match="needs candidates and a target"):
            await rewarding(model).score([SESSION.model_copy(update=change)], [[GOOD]])
    assert not model.calls


def test_the_hash_says_who_judges_by_what() -> None:
    components = fresh_components(scripted())

    def hashed(components: Components = components, **given: object) -> str:
        return RankingRewardModel(components, **given).parameter_hash  # type: ignore[arg-type]

    found = [
        hashed(),
        hashed(relevant="target"),
        hashed(shown_share=0.5),
        hashed(cutoff=5),
        hashed(replace(components, model=ModelGateway(scripted(), "another"))),
    ]
    assert len(set(found)) == len(found)
    assert hashed(relevant="rest", shown_share=0.7, cutoff=10) == found[0]
    assert hashed(replace(components, prompts=Prompts.load())) == found[0]
