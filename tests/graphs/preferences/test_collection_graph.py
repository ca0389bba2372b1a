"""Sampling, rewarding and pairing preference texts, with a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import make_components, make_session

from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.preferences.collection_graph import PreferenceContext, build_preference_graph
from agentrec.graphs.preferences.pairing import PairingRules
from agentrec.graphs.preferences.preference_sampling import (
    SampledText,
    find_factors,
    first_part,
    known_factors,
    sample_preference,
)
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.preferences import PreferencePair, PreferenceReward
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSION = make_session(0)


class LongestIsBest:
    """A reward model that likes words."""

    parameter_hash = "words"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward]]:
        self.asked += [list(each) for each in texts]
        return [
            [PreferenceReward(value=min(1, len(one.split()) / 20)) for one in each]
            for each in texts
        ]


class KnowsNot(LongestIsBest):
    """The same, and knows nothing of some texts."""

    def __init__(self, *unknown: str) -> None:
        super().__init__()
        self._unknown = unknown

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> list[list[PreferenceReward | None]]:
        rewards = await super().score(sessions, texts)
        return [
            [None if text in self._unknown else reward for text, reward in zip(*pair, strict=True)]
            for pair in zip(texts, rewards, strict=True)
        ]


class Kept:
    """A sink that is a list."""

    def __init__(self) -> None:
        self.pairs: list[PreferencePair] = []

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        self.pairs += pairs
        return len(pairs)

    async def all(self) -> Sequence[PreferencePair]:
        return self.pairs


def answers(*texts: str) -> Callable[[Sequence[BaseMessage]], str]:
    left = list(texts)

    def answer(messages: Sequence[BaseMessage]) -> str:
        if "Task: factors" in messages[-1].text:
            return "genre\nperiod\n"
        return left.pop(0)

    return answer


def context_with(
    answer: Callable[[Sequence[BaseMessage]], str], **changes: object
) -> PreferenceContext:
    components = make_components(ScriptedChatModel([answer] * 20))
    given: dict[str, object] = {"samples": 3, "reward_model": LongestIsBest(), **changes}
    return PreferenceContext(components, **given)  # type: ignore[arg-type]


WORSE = "genre: war films"
BETTER = "genre: war films\nperiod: the nineties (several)"
MIDDLE = "genre: war films and old comedies"


async def test_best_and_worst_of_the_texts_become_a_pair() -> None:
    sink = Kept()
    rules = PairingRules(max_length_ratio=4)
    made = context_with(answers(MIDDLE, BETTER, WORSE), sink=sink, rules=rules)
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    [pair] = state["pairs"]
    assert (pair.chosen, pair.rejected) == (BETTER, WORSE)
    assert pair.provenance.reward_model == "words"
    assert pair.provenance.samples == 3
    assert sink.pairs == [pair]
    assert [text.sample for text in state["texts"]] == [0, 1, 2]
    assert SESSION.target is not None
    shown = made.components.catalog[SESSION.target].title
    assert shown not in "".join(turn.content for turn in pair.prompt)
    assert "genre\nperiod" in pair.prompt[-1].content


async def test_one_text_that_fails_costs_the_others_nothing() -> None:
    def failing(messages: Sequence[BaseMessage]) -> str:
        if "Task: factors" in messages[-1].text:
            return "genre\nperiod\n"
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("the model is asleep")
        return BETTER if len(calls) == 1 else WORSE

    calls: list[int] = []
    made = context_with(failing, rules=PairingRules(max_length_ratio=4))
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    assert len(state["failures"]) == 1
    assert "asleep" in state["failures"][0]
    assert len(state["texts"]) == 2
    assert len(state["pairs"]) == 1


async def test_a_text_without_a_word_is_a_failure() -> None:
    made = context_with(answers(BETTER, "\x00", WORSE), rules=PairingRules(max_length_ratio=4))
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    assert state["failures"] == ["nothing was written"]
    assert len(state["texts"]) == 2


async def test_a_spent_budget_is_no_failure_of_one_text() -> None:
    def spent(messages: Sequence[BaseMessage]) -> str:
        raise ModelCallError("nothing is left", kind="budget_spent")

    made = context_with(spent, factors=("genre", "period"))
    with pytest.raises(ModelCallError, match="nothing is left"):
        await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    with pytest.raises(ModelCallError, match="nothing is left"):
        await sample_preference(SESSION, ("genre",), made.components)


async def test_a_failed_attempt_says_why() -> None:
    def asleep(messages: Sequence[BaseMessage]) -> str:
        raise ValueError("the model is asleep")

    attempt = await sample_preference(SESSION, ("genre",), context_with(asleep).components)
    assert attempt.text == ""
    assert "asleep" in (attempt.failure or "")
    attempt = await sample_preference(SESSION, ("genre",), context_with(answers(WORSE)).components)
    assert attempt == SampledText(WORSE)


async def test_a_pair_knows_its_user_and_the_model_does_not() -> None:
    rules = PairingRules(max_length_ratio=4)
    for user_id, kept in (("visitor-4711", "visitor-4711"), (None, "")):
        session = SESSION.model_copy(update={"user_id": user_id})
        made = context_with(answers(MIDDLE, BETTER, WORSE), rules=rules)
        state = await build_preference_graph().ainvoke({"session": session}, context=made)
        assert [pair.user_id for pair in state["pairs"]] == [kept]
        model = made.components.model.model
        assert isinstance(model, ScriptedChatModel)
        asked = [message.text for call in model.calls for message in call]
        assert len(asked) > 3
        assert not [text for text in asked if "4711" in text]


async def test_equal_texts_are_scored_once_and_make_no_pair() -> None:
    made = context_with(answers(WORSE, WORSE, WORSE))
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    assert state["pairs"] == ()
    assert state["rejection"] == "equal texts"
    reward_model = made.reward_model
    assert isinstance(reward_model, LongestIsBest)
    assert reward_model.asked == [[WORSE]]


async def test_a_text_whose_worth_is_not_known_is_in_no_pair_and_is_told_of() -> None:
    rules = PairingRules(max_length_ratio=4)
    for unknown, kept in ((BETTER, (MIDDLE, WORSE)), (MIDDLE, (BETTER, WORSE))):
        made = context_with(
            answers(MIDDLE, BETTER, WORSE, unknown),
            rules=rules,
            samples=4,
            reward_model=KnowsNot(unknown),
        )
        state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
        [pair] = state["pairs"]
        assert (pair.chosen, pair.rejected) == kept
        assert state["failures"] == ["the reward of a text could not be measured"]
        rewarded = {text.text for text in state["texts"] if text.reward is not None}
        assert rewarded == {MIDDLE, BETTER, WORSE} - {unknown}


async def test_where_the_worth_of_one_text_alone_is_known_there_is_no_pair() -> None:
    made = context_with(answers(MIDDLE, BETTER, WORSE), reward_model=KnowsNot(MIDDLE, WORSE))
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    assert (state["pairs"], state["rejection"]) == ((), "nothing rewarded")
    assert len(state["failures"]) == 2


async def test_several_pairs_of_a_session_are_kept() -> None:
    said = [
        "genre: war",
        "genre: war films",
        "genre: war films of old",
        "genre: war in old films too",
    ]
    rules = PairingRules(max_length_ratio=4, most_pairs=2)
    sink = Kept()
    made = context_with(answers(*said), samples=4, rules=rules, sink=sink)
    state = await build_preference_graph().ainvoke({"session": SESSION}, context=made)
    first, second = state["pairs"]
    assert (first.chosen, first.rejected) == (said[3], said[0])
    assert (second.chosen, second.rejected) == (said[2], said[1])
    assert sink.pairs == [first, second]
    assert state["rejection"] is None


async def test_factors_are_asked_for_once_and_attributes_stand_in() -> None:
    components = make_components(ScriptedChatModel([lambda _: "1. Genre\n2. genre\n3. Price"] * 2))
    assert await find_factors(components) == ("Genre", "Price")
    assert await find_factors(components) == ("Genre", "Price")
    assert components.model.calls["made"] == {"factors": 1}
    talking = ModelGateway(ScriptedChatModel([lambda _: "I am a model and know nothing."]), "m")
    chatty = replace(components, model=talking)
    assert await find_factors(chatty) == known_factors(components.catalog)


def test_the_last_items_of_a_history_are_not_shown() -> None:
    long = SESSION.model_copy(update={"items": tuple("abcdefghij")})
    assert first_part(long, 0.7).items == tuple("abcdefg")
    assert first_part(long, 0.01).items == ("a",)
    assert first_part(long, 1.0).items == long.items


@pytest.mark.parametrize(
    "wrong", [{"samples": 1}, {"temperature": 0}, {"shown_share": 0}, {"shown_share": 1.1}]
)
def test_parts_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        context_with(answers(), **wrong)


async def test_a_graph_without_its_parts_says_so() -> None:
    with pytest.raises(InputError, match="PreferenceContext"):
        await build_preference_graph().ainvoke({"session": SESSION})


def test_a_node_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such node"):
        build_preference_graph({"writes": None})  # type: ignore[dict-item]
