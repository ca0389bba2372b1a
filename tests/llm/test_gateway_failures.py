"""What the gateway does about calls that fail."""

import asyncio
import sqlite3
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from llm.conversations import asking, echo, until

from agentrec.errors import InputError, ModelCallError
from agentrec.llm.cost.budget import Budget, BudgetAccount
from agentrec.llm.cost.usage import NodeUsage, Price, PriceTable, Spending, lifelong_usage
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits
from agentrec.testing.faulty_server import FaultPlan, FaultyServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SOON = RetryPolicy(first_wait=0.001)
ONCE = RetryPolicy(max_attempts=1)


class OverloadedError(Exception):
    """As a client tells of status 429."""

    status_code = 429

    def __init__(self, seconds: str) -> None:
        super().__init__("slow down")
        self.response = type("Response", (), {"headers": {"Retry-After": seconds}})()


async def test_a_call_is_made_again_until_it_is_answered() -> None:
    model = ScriptedChatModel([ConnectionResetError("x"), TimeoutError(), "", "fine"])
    gateway = ModelGateway(model, "m", retries=SOON, prices=PriceTable({"m": Price(10**6, 0)}))
    assert await gateway.ask("rank", asking("a")) == "fine"
    assert gateway.calls == {"made": {"rank": 4}, "failed": {"rank": 3}, "cached": {}}
    # The empty answer was paid for too.
    assert gateway.usage.by_node == {"rank": NodeUsage(4, 3, 3, 0, 2, 1, 2.0)}
    model.assert_exhausted()


async def test_cancelling_ends_the_attempts() -> None:
    model = ScriptedChatModel([TimeoutError()] * 5)
    gateway = ModelGateway(model, "m", retries=RetryPolicy(first_wait=30))
    task = asyncio.create_task(gateway.ask("rank", asking("a")))
    await until(lambda: bool(gateway.calls["failed"]))
    task.cancel()
    await asyncio.wait_for(gateway.aclose(), 20)
    assert len(model.calls) == 1


async def test_a_call_that_fails_after_all_have_left_is_not_made_again() -> None:
    model = ScriptedChatModel([TimeoutError()] * 5, latency=0.05)
    gateway = ModelGateway(model, "m", retries=SOON)
    task = asyncio.create_task(gateway.ask("rank", asking("a")))
    await until(lambda: bool(model.calls))
    task.cancel()
    await asyncio.wait_for(gateway.aclose(), 20)
    assert len(model.calls) == 1


async def test_waiting_for_a_retry_takes_no_slot() -> None:
    model = ScriptedChatModel([TimeoutError(), "other"])
    gateway = ModelGateway(
        model, "m", limiter=CallLimiter(CallLimits(1)), retries=RetryPolicy(first_wait=30)
    )
    waiting = asyncio.create_task(gateway.ask("rank", asking("a")))
    await until(lambda: bool(gateway.calls["failed"]))
    assert await asyncio.wait_for(gateway.ask("rank", asking("b")), 20) == "other"
    waiting.cancel()


async def test_a_model_that_hangs_is_given_up() -> None:
    model = ScriptedChatModel([echo], latency=30)
    gateway = ModelGateway(model, "m", retries=RetryPolicy(max_attempts=1, timeout=0.05))
    with pytest.raises(ModelCallError, match=r"within 0\.05 s") as caught:
        await asyncio.wait_for(gateway.ask("rank", asking("a")), 5)
    assert caught.value.kind == "timed_out"


async def test_retry_after_holds_all_callers_back() -> None:
    told: list[float] = []
    started: list[float] = []

    def overloaded(messages: Sequence[BaseMessage]) -> str:
        told.append(time.monotonic())
        raise OverloadedError("0.3")

    def fine(messages: Sequence[BaseMessage]) -> str:
        started.append(time.monotonic())
        return echo(messages)

    model = ScriptedChatModel([overloaded, *[fine] * 10])
    gateway = ModelGateway(model, "m", retries=SOON)
    first = asyncio.create_task(gateway.ask("rank", asking("first")))
    await until(lambda: bool(gateway.calls["failed"]))
    await asyncio.gather(*(gateway.ask("rank", asking(str(n))) for n in range(9)))
    assert await first == "re: first"
    assert min(started) - told[0] >= 0.3
    model.assert_exhausted()


async def test_an_endpoint_that_wants_too_much_patience_gets_none() -> None:
    limiter = CallLimiter(CallLimits(longest_pause=0.01))
    gateway = ModelGateway(ScriptedChatModel([OverloadedError("3600")]), "m", limiter=limiter)
    with pytest.raises(ModelCallError) as caught:
        await asyncio.wait_for(gateway.ask("rank", asking("a")), 20)
    assert (caught.value.kind, caught.value.retry_after) == ("rate_limited", 3600)


SECRET = "my-very-own-secret-key"


class Leaking(ChatOpenAI):
    """Its errors repeat the key it was given."""

    async def _agenerate(self, *args: Any, **options: Any) -> ChatResult:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as error:
            raise RuntimeError(f"cannot log in with {SECRET}") from error


async def test_a_traceback_shows_no_key_and_still_says_where_it_came_from(tmp_path: Path) -> None:
    model = Leaking(model="m", api_key=SECRET)  # type: ignore[arg-type]
    path = tmp_path / "calls.sqlite"
    async with await CallJournal.open(path) as journal:
        with pytest.raises(ModelCallError) as caught:
            await ModelGateway(model, "m", journal).ask("rank", asking("a"))
    shown = "".join(traceback.format_exception(caught.value))
    assert "RuntimeError: cannot log in with *** <- builtins.ValueError: inner ***" in shown
    each: BaseException | None = caught.value
    while each is not None:
        assert SECRET not in repr(each)
        assert each.__cause__ is each.__context__ or each.__context__ is None
        each = each.__cause__
    with closing(sqlite3.connect(path)) as connection:
        assert not any(SECRET in line for line in connection.iterdump())


async def test_failures_are_in_the_journal_and_never_as_answers(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    async with await CallJournal.open(path) as journal:
        model = ScriptedChatModel([TimeoutError("slow"), "", ValueError("wrong"), "fine"])
        gateway = ModelGateway(model, "m", journal, retries=SOON)
        with pytest.raises(ModelCallError):
            await gateway.ask("rank", asking("a"))
        assert len(journal) == 0
        assert await gateway.ask("rank", asking("a")) == "fine"
        spendings = await journal.spendings()
        key = gateway.key(asking("a"))
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT key, node, kind, problem, attempt, model FROM failures")
    assert rows.fetchall() == [
        (key, "rank", "timed_out", "the model did not answer in time: slow", 1, "m"),
        (key, "rank", "malformed", "the model's answer is empty", 2, "m"),
        (key, "rank", "failed", "the model call failed: ValueError: wrong", 3, "m"),
    ]
    connection.close()
    assert spendings == (Spending("rank", "m", 1, 3, 1, 1, 1, 0, retries=2),)


async def test_a_spent_budget_stops_new_calls_and_leaves_answers_free(tmp_path: Path) -> None:
    prices = PriceTable({"m": Price(0, 1_000_000)}, "EUR")
    path = tmp_path / "calls.sqlite"
    words = " ".join(["word"] * 300)
    async with await CallJournal.open(path) as journal:
        account = BudgetAccount(Budget(money=1000), prices, await journal.spendings())
        gateway = ModelGateway(ScriptedChatModel([words] * 9), "m", journal, account=account)
        outcomes = await asyncio.gather(
            *(gateway.ask("rank", asking(str(n))) for n in range(8)), return_exceptions=True
        )
        assert outcomes[:3] == [words] * 3
        assert [getattr(each, "kind", None) for each in outcomes[3:]] == ["budget_spent"] * 5
        assert "900.00 EUR are paid" in str(outcomes[3])
        assert gateway.usage.total.money == 900
        assert await gateway.ask("rank", asking("0")) == words
    async with await CallJournal.open(path) as journal:
        account = BudgetAccount(Budget(money=1100), prices, await journal.spendings())
        gateway = ModelGateway(ScriptedChatModel(), "m", journal, account=account)
        assert await gateway.ask("rank", asking("2")) == words
        with pytest.raises(ModelCallError, match=r"1100\.00 EUR is spent: 900\.00 EUR"):
            await gateway.ask("rank", asking("7"))
        assert gateway.calls["made"] == {}
        usage = lifelong_usage(await journal.spendings(), prices)
    assert usage.total == NodeUsage(3, 0, 0, 0, 3, 900, 900.0)


class Uncounting(ScriptedChatModel):
    """Does not say what it took."""

    def _result(self, messages: list[BaseMessage], text: str) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


async def test_a_model_that_does_not_count_is_counted_by_guesses() -> None:
    account = BudgetAccount(Budget(tokens=600))
    gateway = ModelGateway(Uncounting(["x"] * 9), "m", account=account)
    await gateway.ask("rank", asking("xxxx"))
    await gateway.ask("rank", asking("yyyy"))
    assert account.tokens_spent == 2 * (1 + 256)
    with pytest.raises(ModelCallError, match="514 are paid"):
        await gateway.ask("rank", asking("zzzz"))


async def test_what_calls_really_took_corrects_the_limits_and_the_next_guess() -> None:
    account = BudgetAccount(Budget(tokens=280))
    # Guesses of 257 tokens would fit neither budget nor limit a second time.
    limiter = CallLimiter(CallLimits(tokens_per_minute=60_000))
    gateway = ModelGateway(ScriptedChatModel([echo] * 20), "m", account=account, limiter=limiter)
    async with asyncio.timeout(5):
        for n in range(20):
            await gateway.ask("rank", asking(str(n)))
    assert account.tokens_spent == 60
    limiter = CallLimiter(CallLimits(tokens_per_minute=300))
    gateway = ModelGateway(ScriptedChatModel([echo] * 2), "m", limiter=limiter)
    async with asyncio.timeout(5):
        for n in range(2):
            await gateway.ask("rank", asking(str(n)))


async def test_failed_calls_give_back_what_was_set_aside() -> None:
    account = BudgetAccount(Budget(tokens=300))
    model = ScriptedChatModel([*[TimeoutError()] * 4, "fine"])
    gateway = ModelGateway(model, "m", account=account, retries=SOON)
    assert await asyncio.wait_for(gateway.ask("rank", asking("a")), 5) == "fine"
    assert account.tokens_spent == 2


def test_a_budget_of_money_needs_a_price() -> None:
    account = BudgetAccount(Budget(money=1))
    with pytest.raises(InputError, match="price of 'm'"):
        ModelGateway(ScriptedChatModel(), "m", account=account)


async def test_a_real_client_and_a_bad_day(tmp_path: Path) -> None:
    number = 60
    plan = FaultPlan(
        share=0.4,
        kinds=("rate_limited", "rate_limited_bare", "server_error", "cut_off", "empty"),
        seed=3,
    )
    with FaultyServer(ScriptedChatModel([echo] * 1000), plan) as server:
        model = ChatOpenAI(
            model="m",
            base_url=server.base_url,
            api_key="unused",
            max_retries=0,  # type: ignore[arg-type]
        )
        async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
            retries = RetryPolicy(max_attempts=12, malformed_attempts=12, first_wait=0.01)
            gateway = ModelGateway(model, "m", journal, retries=retries)
            texts = [str(n) for n in range(number)] * 2
            answers = await asyncio.gather(*(gateway.ask("rank", asking(t)) for t in texts))
            assert answers == ["re: " + text for text in texts]
            made, failed = gateway.calls["made"]["rank"], gateway.calls["failed"]["rank"]
            assert made - failed == len(journal) == number
        # Nothing happened behind the gateway's back.
        assert made == server.requests
        assert failed == server.faults.total() > 20


async def test_what_does_not_pass_is_not_tried_again() -> None:
    model = ScriptedChatModel([ValueError("wrong")])
    with pytest.raises(ModelCallError, match="wrong"):
        await ModelGateway(model, "m", retries=SOON).ask("rank", asking("a"))
    model.assert_exhausted()
