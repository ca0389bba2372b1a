import asyncio
import gc
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llm.conversations import echo, until

from agentrec.errors import ModelCallError
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.journal import CallJournal
from agentrec.llm.journal_file import Batch, JournalFile, Written
from agentrec.llm.rate_limits import CallLimiter, CallLimits
from agentrec.testing.scripted_chat_model import ScriptedChatModel

ONCE = RetryPolicy(max_attempts=1)


def asking(text: str) -> list[BaseMessage]:
    return [SystemMessage("You rank."), HumanMessage(text)]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture(params=["journal", "memory"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield None
        return
    async with await CallJournal.open(tmp_path / "calls.sqlite") as opened:
        yield opened


async def test_two_hundred_of_the_same_are_one_call(journal: CallJournal | None) -> None:
    model = ScriptedChatModel([echo], latency=0.05)
    gateway = ModelGateway(model, "m", journal)
    with blockbuster_ctx():
        answers = await asyncio.gather(*(gateway.ask("rank", asking("a")) for _ in range(200)))
        assert await gateway.ask("other", asking("a")) == "re: a"
    assert set(answers) == {"re: a"}
    assert gateway.calls == {"made": {"rank": 1}, "failed": {}, "cached": {"rank": 199, "other": 1}}
    assert gateway.tokens == {"input": 3, "output": 2}
    model.assert_exhausted()


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(journal: CallJournal | None) -> None:
    model = ScriptedChatModel([ConnectionResetError("gone"), "fine"], latency=0.02)
    gateway = ModelGateway(model, "m", journal, retries=ONCE)
    failures = await asyncio.gather(
        *(gateway.ask("rank", asking("a")) for _ in range(50)), return_exceptions=True
    )
    assert [f.kind for f in failures if isinstance(f, ModelCallError)] == ["unreachable"] * 50
    assert await gateway.ask("rank", asking("a")) == "fine"
    assert gateway.calls == {"made": {"rank": 2}, "failed": {"rank": 1}, "cached": {}}
    model.assert_exhausted()


async def test_a_failed_call_can_be_made_again_at_once() -> None:
    model = ScriptedChatModel([TimeoutError(), "fine"], latency=0.01)
    gateway = ModelGateway(model, "m", retries=ONCE)

    async def stubborn() -> str:
        try:
            return await gateway.ask("rank", asking("a"))
        except ModelCallError:
            return await gateway.ask("rank", asking("a"))

    assert await asyncio.gather(*(stubborn() for _ in range(20))) == ["fine"] * 20
    model.assert_exhausted()


@pytest.mark.parametrize("nothing", ["", " \n\t"])
async def test_an_empty_answer_is_malformed_and_not_kept(
    journal: CallJournal | None, nothing: str
) -> None:
    gateway = ModelGateway(ScriptedChatModel([nothing, "fine"]), "m", journal, retries=ONCE)
    with pytest.raises(ModelCallError) as caught:
        await gateway.ask("rank", asking("a"))
    assert caught.value.kind == "malformed"
    # It was paid for all the same.
    assert gateway.tokens == {"input": 3, "output": 0}
    assert await gateway.ask("rank", asking("a")) == "fine"
    assert gateway.calls == {"made": {"rank": 2}, "failed": {"rank": 1}, "cached": {}}


async def test_a_cancelled_caller_takes_neither_call_nor_answer_along(
    journal: CallJournal | None,
) -> None:
    model = ScriptedChatModel([echo], latency=0.05)
    gateway = ModelGateway(model, "m", journal)
    first, second, third = (asyncio.create_task(gateway.ask("rank", asking("a"))) for _ in range(3))
    await until(lambda: bool(model.calls))
    first.cancel()
    second.cancel()
    assert await third == "re: a"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await gateway.ask("rank", asking("a")) == "re: a"
    model.assert_exhausted()


async def test_closing_waits_for_what_was_sent_and_keeps_its_answer(tmp_path: Path) -> None:
    model = ScriptedChatModel([echo], latency=0.05)
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        gateway = ModelGateway(model, "m", journal)
        lonely = asyncio.create_task(gateway.ask("rank", asking("a")))
        await until(lambda: bool(model.calls))
        lonely.cancel()
        closing = asyncio.create_task(gateway.aclose())
        await turns()
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert len(journal) == 0
        await gateway.aclose()
        assert len(journal) == 1
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        again = ModelGateway(ScriptedChatModel(), "m", journal)
        assert await again.ask("rank", asking("a")) == "re: a"
        assert again.calls == {"made": {}, "failed": {}, "cached": {"rank": 1}}


async def test_an_answer_that_is_being_written_is_not_paid_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = JournalFile.write

    def waiting(file: JournalFile, batch: Batch) -> Written:
        go.wait(5)
        return write(file, batch)

    monkeypatch.setattr(JournalFile, "write", waiting)
    model = ScriptedChatModel([echo, echo], latency=0.02)
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        gateway = ModelGateway(model, "m", journal)
        first = asyncio.create_task(gateway.ask("rank", asking("a")))
        await until(lambda: bool(model.calls))
        # Keeps the writer busy, so that the answer stands in line behind it.
        busy = asyncio.create_task(journal.put_fact("x", "y"))
        await until(lambda: gateway.tokens["output"] > 0)
        await turns()
        first.cancel()
        await turns()
        second = asyncio.create_task(gateway.ask("rank", asking("a")))
        await turns()
        go.set()
        assert await asyncio.wait_for(second, 5) == "re: a"
        await busy
    assert len(model.calls) == 1


async def test_what_nobody_wants_any_more_is_not_sent() -> None:
    model = ScriptedChatModel([echo] * 3, latency=0.03)
    gateway = ModelGateway(model, "m", limiter=CallLimiter(CallLimits(1)))
    tasks = [asyncio.create_task(gateway.ask("rank", asking(str(n)))) for n in range(20)]
    wanted = asyncio.create_task(gateway.ask("rank", asking("7")))
    await until(lambda: bool(model.calls))
    for task in tasks:
        task.cancel()
    await turns()
    late = asyncio.create_task(gateway.ask("rank", asking("9")))
    await gateway.aclose()
    assert (await wanted, await late) == ("re: 7", "re: 9")
    assert [call[-1].text for call in model.calls] == ["0", "7", "9"]
    assert gateway.calls == {"made": {"rank": 3}, "failed": {}, "cached": {"rank": 1}}


async def test_a_failure_nobody_waits_for_is_silent() -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    model = ScriptedChatModel([ValueError("x")], latency=0.02)
    gateway = ModelGateway(model, "m")
    task = asyncio.create_task(gateway.ask("rank", asking("a")))
    await until(lambda: bool(model.calls))
    task.cancel()
    await gateway.aclose()
    del task
    await turns()
    gc.collect()
    assert noise == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (asking("a"), asking("b")),
        ([HumanMessage("a")], [AIMessage("a")]),
        ([HumanMessage("a"), HumanMessage("b")], [HumanMessage("ab")]),
        ([HumanMessage("a"), HumanMessage("b")], [HumanMessage("b"), HumanMessage("a")]),
        ([HumanMessage("a")], [HumanMessage("a", name="ann")]),
        (
            [HumanMessage([{"type": "image_url", "image_url": {"url": "https://x/1.png"}}])],
            [HumanMessage([{"type": "image_url", "image_url": {"url": "https://x/2.png"}}])],
        ),
        (
            [AIMessage("", tool_calls=[{"name": "f", "args": {"n": 1}, "id": "1"}])],
            [AIMessage("", tool_calls=[{"name": "f", "args": {"n": 2}, "id": "1"}])],
        ),
        ([ToolMessage("a", tool_call_id="1")], [ToolMessage("a", tool_call_id="2")]),
    ],
    ids=range(8),
)
def test_different_messages_are_different_requests(
    one: list[BaseMessage], other: list[BaseMessage]
) -> None:
    gateway = ModelGateway(ScriptedChatModel(), "m")
    assert gateway.key(one) != gateway.key(other)
    copied = [message.model_copy(update={"id": "fresh"}) for message in one]
    assert gateway.key(one) == gateway.key(copied)


async def test_samples_and_names_are_different_requests(tmp_path: Path) -> None:
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        model = ScriptedChatModel(["first", "second", "third"])
        warm, cold = ModelGateway(model, "m t=1", journal), ModelGateway(model, "m t=0", journal)
        assert await warm.ask("rank", asking("a"), 0) == "first"
        assert await warm.ask("rank", asking("a"), 1) == "second"
        assert await cold.ask("rank", asking("a"), 0) == "third"
        assert await warm.ask("rank", asking("a"), 1) == "second"
        assert len(journal) == 3
    model.assert_exhausted()


def test_a_key_is_a_hash_of_the_content_alone() -> None:
    # Spelt out, because a journal paid for with one version must serve the next.
    content = rb'["m", 2, ["system", "You rank."], ["human", "\u00e9"]]'
    key = ModelGateway(ScriptedChatModel(), "m").key(asking("é"), 2)
    assert key == hashlib.sha256(content).hexdigest()


async def test_closing_with_patience_gives_up_what_takes_longer() -> None:
    model = ScriptedChatModel([echo], latency=60)
    gateway = ModelGateway(model, "m")
    late = asyncio.create_task(gateway.ask("rank", asking("a")))
    await until(lambda: bool(model.calls))
    await gateway.aclose(patience=0.02)
    with pytest.raises(asyncio.CancelledError):
        await late
    # Nothing is on its way any more.
    await gateway.aclose()


async def test_closing_with_patience_keeps_what_is_answered_in_time(tmp_path: Path) -> None:
    model = ScriptedChatModel([echo], latency=0.02)
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        gateway = ModelGateway(model, "m", journal)
        lonely = asyncio.create_task(gateway.ask("rank", asking("a")))
        await until(lambda: bool(model.calls))
        lonely.cancel()
        await gateway.aclose(patience=60)
        assert len(journal) == 1


async def test_a_plain_model_needs_no_name_without_a_journal(tmp_path: Path) -> None:
    model = ScriptedChatModel(["answer"], model_name="local")
    gateway = ModelGateway(model)
    assert gateway.name == "local"
    assert await gateway.ask("rank", [HumanMessage("a")]) == "answer"
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        with pytest.raises(ValueError, match="needs the model's name"):
            ModelGateway(model, journal=journal)


async def test_concurrency_is_bounded_and_used() -> None:
    model = ScriptedChatModel([echo] * 40, latency=0.01)
    gateway = ModelGateway(model, "m", limiter=CallLimiter(CallLimits(7)))
    answers = await asyncio.gather(*(gateway.ask("rank", asking(str(n))) for n in range(40)))
    assert answers == [f"re: {n}" for n in range(40)]
    assert model.most_at_once == 7
    assert gateway.calls["made"] == {"rank": 40}


async def test_failures_give_their_slot_back() -> None:
    model = ScriptedChatModel([ValueError("x"), "", "fine"])
    gateway = ModelGateway(model, "m", limiter=CallLimiter(CallLimits(1)), retries=ONCE)
    for _ in range(2):
        with pytest.raises(ModelCallError):
            await gateway.ask("rank", asking("a"))
    assert await asyncio.wait_for(gateway.ask("rank", asking("a")), 5) == "fine"
