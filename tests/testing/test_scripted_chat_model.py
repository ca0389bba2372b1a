import asyncio
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agentrec.testing.scripted_chat_model import ScriptedChatModel


async def test_replies_come_in_order_sync_and_async() -> None:
    model = ScriptedChatModel(["one", lambda messages: messages[0].text.upper(), "three"])
    assert model.invoke("a").text == "one"
    assert (await model.ainvoke("b c")).text == "B C"
    assert (await model.ainvoke("d")).text == "three"
    assert [[m.text for m in call] for call in model.calls] == [["a"], ["b c"], ["d"]]
    model.assert_exhausted()


async def test_what_is_used_is_reported() -> None:
    answer = await ScriptedChatModel(["three words here"], model_name="m-1").ainvoke(
        [HumanMessage("a b"), AIMessage("c")]
    )
    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 3
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.response_metadata["model_name"] == "m-1"


async def test_an_exception_is_raised_as_it_is() -> None:
    failure = ConnectionResetError("gone")
    model = ScriptedChatModel([failure, "then"])
    with pytest.raises(ConnectionResetError) as caught:
        await model.ainvoke("x")
    assert caught.value is failure
    assert model.invoke("x").text == "then"
    model.assert_exhausted()


async def test_a_surplus_call_fails_twice_at_once_and_at_the_end() -> None:
    model = ScriptedChatModel(["only"])
    model.invoke("first")
    with pytest.raises(AssertionError, match="call 2 finds no reply in the script; it asks 'more'"):
        await model.ainvoke("more")
    with pytest.raises(AssertionError, match="1 calls found no reply"):
        model.assert_exhausted()


def test_replies_left_over_are_reported() -> None:
    model = ScriptedChatModel(["one"])
    model.add("two")
    model.invoke("x")
    with pytest.raises(AssertionError, match="1 scripted replies"):
        model.assert_exhausted()


async def test_calls_wait_side_by_side() -> None:
    model = ScriptedChatModel(["x"] * 10, latency=0.05)
    start = time.perf_counter()
    await asyncio.gather(*(model.ainvoke(str(n)) for n in range(10)))
    assert time.perf_counter() - start >= 0.05
    assert model.most_at_once == 10
