import asyncio
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from embedded_model.planted import (
    HOSTILE,
    TEXT_TASKS,
    Planted,
    rank_prompt,
    repair_prompt,
    text_prompt,
)
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import ValidationError

from agentrec.embedded_model import chat_model
from agentrec.embedded_model.chat_model import SELF_DESCRIPTION, CatalogChatModel
from agentrec.embedded_model.decoding import rank_candidates
from agentrec.embedded_model.folder import CatalogModel, save_model
from agentrec.llm.answers.parsing import parse_ranking
from agentrec.llm.chat_models import open_chat_model
from agentrec.llm.prompts.session_view import SessionView
from agentrec.llm.prompts.templates import PromptName


@pytest.fixture
def writing(writer: CatalogModel) -> CatalogChatModel:
    return CatalogChatModel(catalog_model=writer)


@pytest.fixture
def asked(films: Planted) -> list[list[BaseMessage]]:
    """64 conversations of all kinds."""
    return [
        rank_prompt(films, films.session(n), "Prefer kind war." if n % 8 else None)
        if n % 2
        else text_prompt(TEXT_TASKS[n % 5], films, films.session(n))
        for n in range(64)
    ]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches of rankings, each of which takes a while."""
    computed: list[int] = []

    def slowly(model: CatalogModel, prompts: Sequence[Any], samplings: Any) -> list[list[int]]:
        computed.append(len(prompts))
        time.sleep(0.1)
        return rank_candidates(model, prompts, samplings)

    monkeypatch.setattr(chat_model, "rank_candidates", slowly)
    return computed


@pytest.mark.parametrize("count", [1, 5, 10, 20, 30])
def test_a_list_names_as_many_candidates_as_asked_each_once(
    films: Planted, chat: CatalogChatModel, count: int
) -> None:
    for seed in range(5):
        session = films.session(seed)
        view = SessionView.of(session, films.catalog)
        answer = chat.invoke(rank_prompt(films, session, count=count)).text
        lines = answer.splitlines()
        assert len(lines) == min(count, 20)
        for index, line in enumerate(lines, start=1):
            handled = re.fullmatch(rf"{index}\. C(\d\d) \| (.+)", line)
            assert handled is not None
            label = view.candidate_labels[int(handled[1]) - 1]
            assert handled[2] == label.replace("<", "‹").replace(">", "›")
        parsed = parse_ranking(answer, view)
        assert parsed.illegal == 0
        assert len(set(parsed.item_ids)) == len(lines)


def test_the_ranking_hardly_depends_on_the_order_of_candidates(
    films: Planted, chat: CatalogChatModel
) -> None:
    """Handles are interchangeable, so only rounding tells one order from another."""
    for number in range(5):
        session = films.session(number)
        rankings = [
            parse_ranking(
                chat.invoke(rank_prompt(films, session, seed=seed)).text,
                SessionView.of(session, films.catalog, seed),
            ).item_ids
            for seed in range(4)
        ]
        assert len({ranking[0] for ranking in rankings}) == 1
        assert all(len(set(rankings[0]) & set(ranking)) >= 9 for ranking in rankings)


def test_hostile_titles_are_ranked_like_any_other(films: Planted, chat: CatalogChatModel) -> None:
    hostile = tuple(f"i{n}" for n in HOSTILE)
    session = films.session(0).model_copy(update={"candidates": hostile, "target": None})
    answer = chat.invoke(rank_prompt(films, session, count=5)).text
    parsed = parse_ranking(answer, SessionView.of(session, films.catalog))
    assert (sorted(parsed.item_ids), parsed.illegal) == (sorted(hostile), 0)


def test_a_repair_has_the_length_requested_last(films: Planted, chat: CatalogChatModel) -> None:
    session = films.session(2)
    whole = chat.invoke(rank_prompt(films, session)).text.splitlines()
    again = chat.invoke(repair_prompt(films, session, count=4)).text.splitlines()
    assert again == whole[:4]


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_texts_name_no_title_and_repeat_no_phrase_in_a_sentence(
    films: Planted, writing: CatalogChatModel, name: PromptName
) -> None:
    phrases = sorted((aspect.phrase for aspect in films.aspects), key=len, reverse=True)
    titles = [item.title.casefold() for item in films.catalog.values()]
    prompts = [text_prompt(name, films, films.session(seed)) for seed in range(12)]
    for message in writing.batch(prompts):
        assert message.text
        for line in message.text.splitlines():
            assert "_" not in line
            assert ";" not in line or name not in {"hints", "preference"}
            assert not any(title in line.casefold() for title in titles)
            if name == "hints":
                assert re.match(r"[123]\. \S.*\.$", line)
                sentence = line.casefold()
                for phrase in phrases:
                    assert sentence.count(phrase) <= 1
                    sentence = sentence.replace(phrase, "")


def test_there_are_at_most_as_many_hints_as_requested(
    films: Planted, writing: CatalogChatModel
) -> None:
    messages = text_prompt("hints", films, films.session(0))
    fewer = [type(m)(m.text.replace("up to 3 hints", "up to 1 hints")) for m in messages]
    assert len(writing.invoke(fewer).text.splitlines()) == 1
    answer = writing.invoke(messages).text
    # What was taught for so short a time may stumble over a word.
    assert re.match(r"1\. (The )?prefer ", answer, re.IGNORECASE)


async def test_all_call_methods_give_the_same_answers(
    chat: CatalogChatModel, asked: list[list[BaseMessage]]
) -> None:
    expected = [chat.invoke(messages).text for messages in asked]
    assert [message.text for message in chat.batch(asked)] == expected
    assert [message.text for message in await chat.abatch(asked)] == expected
    together = await asyncio.gather(*(chat.ainvoke(messages) for messages in asked))
    assert [message.text for message in together] == expected
    assert "".join(chunk.text for chunk in chat.stream(asked[0])) == expected[0]
    assert "".join([chunk.text async for chunk in chat.astream(asked[1])]) == expected[1]


async def test_sixty_four_at_once_are_computed_in_a_few_batches(
    films: Planted, chat: CatalogChatModel, sizes: list[int]
) -> None:
    prompts = [rank_prompt(films, films.session(n)) for n in range(64)]
    await asyncio.gather(*(chat.ainvoke(messages) for messages in prompts))
    assert sum(sizes) == 64
    assert len(sizes) <= 12


async def test_the_event_loop_is_free_while_a_batch_is_computed(
    films: Planted, chat: CatalogChatModel, sizes: list[int]
) -> None:
    prompts = [rank_prompt(films, films.session(n)) for n in range(8)]
    with blockbuster_ctx():
        answers = asyncio.gather(*(chat.ainvoke(messages) for messages in prompts))
        beats = 0
        while not answers.done():
            await asyncio.sleep(0.005)
            beats += 1
        await answers
    # At least 0.1 s were spent computing.
    assert beats >= 4


async def test_a_cancelled_call_does_not_affect_others(
    films: Planted, chat: CatalogChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    entered, go = threading.Event(), threading.Event()

    def gated(model: CatalogModel, prompts: Sequence[Any], samplings: Any) -> list[list[int]]:
        computed.append(len(prompts))
        entered.set()
        assert go.wait(20)
        return rank_candidates(model, prompts, samplings)

    monkeypatch.setattr(chat_model, "rank_candidates", gated)
    prompts = [rank_prompt(films, films.session(n)) for n in range(12)]
    tasks = [asyncio.create_task(chat.ainvoke(prompts[0]))]
    assert await asyncio.to_thread(entered.wait, 20)
    tasks += [asyncio.create_task(chat.ainvoke(messages)) for messages in prompts[1:]]
    await asyncio.sleep(0.2)  # The first is being computed, the others have queued up.
    for task in (tasks[0], tasks[-1]):
        task.cancel()
    await asyncio.sleep(0.01)
    go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(d, asyncio.CancelledError) for d in done] == [True, *[False] * 10, True]
    assert computed == [1, 10]
    for messages, answer in zip(prompts[1:-1], done[1:-1], strict=True):
        assert isinstance(answer, AIMessage)
        assert answer.text == chat.invoke(messages).text


async def test_a_failure_reaches_its_callers_and_the_next_call_works(
    films: Planted, chat: CatalogChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = rank_prompt(films, films.session(0))

    def fail(*args: object) -> list[list[int]]:
        raise MemoryError("none left")

    with monkeypatch.context() as patched:
        patched.setattr(chat_model, "rank_candidates", fail)
        failures = await asyncio.gather(
            *(chat.ainvoke(messages) for _ in range(3)), return_exceptions=True
        )
    assert [type(failure) for failure in failures] == [MemoryError] * 3
    assert (await chat.ainvoke(messages)).text.startswith("1. ")


def test_threads_may_share_a_model(chat: CatalogChatModel, asked: list[list[BaseMessage]]) -> None:
    expected = [chat.invoke(messages).text for messages in asked[:16]]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda m: chat.invoke(m).text, asked[:16])) == expected


@pytest.mark.parametrize("name", ["rank", "hints"])
def test_draws_repeat_with_their_seed(films: Planted, chat: CatalogChatModel, name: str) -> None:
    messages = (
        rank_prompt(films, films.session(0))
        if name == "rank"
        else text_prompt("hints", films, films.session(0))
    )

    def answers(**options: Any) -> list[str]:
        return [chat.bind(seed=n, **options).invoke(messages).text for n in range(6)]

    assert answers(temperature=1.5) == answers(temperature=1.5)
    assert len(set(answers(temperature=1.5))) > 2
    assert set(answers()) == {chat.invoke(messages).text}
    own = CatalogChatModel(catalog_model=chat.catalog_model, temperature=1.5, seed=3)
    assert own.invoke(messages).text == answers(temperature=1.5)[3]


@pytest.mark.parametrize("temperature", [-0.1, 2.1])
def test_a_temperature_out_of_range_is_refused(taught: CatalogModel, temperature: float) -> None:
    with pytest.raises(ValidationError):
        CatalogChatModel(catalog_model=taught, temperature=temperature)


async def test_other_prompts_are_answered_with_a_self_description(
    chat: CatalogChatModel, sizes: list[int]
) -> None:
    assert chat.invoke("Which film tonight?").text == SELF_DESCRIPTION
    assert (
        await chat.ainvoke([("system", "You are kind."), ("human", "hi")])
    ).text == SELF_DESCRIPTION
    assert "small model taught from a catalogue" in SELF_DESCRIPTION
    assert sizes == []


async def test_use_is_reported(films: Planted, chat: CatalogChatModel) -> None:
    usage = UsageMetadataCallbackHandler()
    messages = rank_prompt(films, films.session(0))
    one = await chat.ainvoke(messages, config={"callbacks": [usage]})
    two = chat.invoke("hello there", config={"callbacks": [usage]})
    read = sum(len(message.text.split()) for message in messages) + 2
    written = len(one.text.split()) + len(two.text.split())
    assert usage.usage_metadata == {
        "trained": {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
        }
    }
    assert one.response_metadata["model_name"] == "trained"


def test_a_model_is_opened_by_name_from_a_folder(
    films: Planted, chat: CatalogChatModel, tmp_path: Path
) -> None:
    save_model(chat.catalog_model, "card", tmp_path / "model")
    opened = open_chat_model(f"catalog-lm:{tmp_path / 'model'}")
    assert isinstance(opened, CatalogChatModel)
    messages = rank_prompt(films, films.session(0), "Prefer kind horror.")
    assert opened.invoke(messages).text == chat.invoke(messages).text
    assert opened._identifying_params == {"model": "trained", "temperature": 0.0, "seed": 0}
