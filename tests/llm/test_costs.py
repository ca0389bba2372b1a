"""Prices, usage and estimates."""

import asyncio
import math

import pytest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agentrec.errors import InputError, ModelCallError
from agentrec.llm.cost.budget import Budget, BudgetAccount
from agentrec.llm.cost.estimate import CallEstimate, PlannedCalls, TokenEstimator, estimate_calls
from agentrec.llm.cost.usage import NodeUsage, Price, PriceTable, Spending, Usage, lifelong_usage
from agentrec.llm.rate_limits import CallLimits

SMALL, LARGE = Price(1, 2), Price(10, 20)


@pytest.mark.parametrize("wrong", [(-1, 0), (0, math.inf), (math.nan, 0)])
def test_impossible_prices_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="prices"):
        Price(*wrong)


@pytest.mark.parametrize(
    ("names", "model", "found"),
    [
        (["openai:m"], "openai:m", True),
        (["openai:m"], "openai:m@1a2b3c4d", True),
        (["openai:m"], 'openai:m@1a2b3c4d {"temperature":1}', True),
        (["m"], "openai:m@1a2b3c4d", True),
        (["org/m:free"], "openai:org/m:free", True),
        (["m"], "openai:n", False),
        (["n"], "openai:m:n", False),
        ([], "", False),
    ],
)
def test_a_model_is_found_by_its_name_with_or_without_what_surrounds_it(
    names: list[str], model: str, found: bool
) -> None:
    price = PriceTable(dict.fromkeys(names, SMALL)).price(model)
    assert (price is SMALL) is found


def test_the_most_exact_name_counts() -> None:
    table = PriceTable({"m": SMALL, "openai:m": LARGE})
    assert table.price("openai:m@1a2b3c4d") is LARGE
    assert table.price("azure:m") is SMALL


def test_amounts_in_words() -> None:
    assert PriceTable(currency="EUR").shown(0.01234) == "0.0123 EUR"
    assert PriceTable().shown(1234.5) == "1234.50"


def test_usage_adds_up_and_an_unknown_price_makes_the_sum_unknown() -> None:
    one = NodeUsage(5, 1, 1, 2, 100, 10, 0.5)
    usage = Usage({"rank": one, "repair": one})
    assert usage.total == NodeUsage(10, 2, 2, 4, 200, 20, 1.0)
    assert Usage({"rank": one, "x": NodeUsage(money=None)}).total.money is None
    assert Usage({}).total == NodeUsage()


def test_a_runs_whole_life_from_its_journal() -> None:
    spendings = [
        Spending("rank", "openai:small", answers=3, failures=1, input_tokens=1_000_000),
        Spending("rank", "openai:large", answers=1, output_tokens=100_000),
        Spending("repair", "openai:small", failures=2, lost_output_tokens=500_000, retries=1),
    ]
    table = PriceTable({"small": SMALL, "large": LARGE})
    usage = lifelong_usage(spendings, table)
    assert usage.by_node["rank"] == NodeUsage(5, 1, 0, 0, 1_000_000, 100_000, 3.0)
    assert usage.by_node["repair"] == NodeUsage(2, 2, 1, 0, 0, 500_000, 1.0)
    assert lifelong_usage(spendings, PriceTable({"small": SMALL})).by_node["rank"].money is None


def asking(text: str) -> list[BaseMessage]:
    return [SystemMessage("1234"), HumanMessage(text)]


def test_an_estimate_is_calls_times_mean_tokens_and_what_limits_make_of_it() -> None:
    planned = [
        PlannedCalls("rank", 1000, [asking("x" * 396), asking("x" * 796)], 50),
        PlannedCalls("repair", 100, [asking("x" * 396)], 10.5),
    ]
    estimate = estimate_calls(
        planned,
        "openai:m",
        prices=PriceTable({"m": Price(2, 10)}),
        limits=CallLimits(requests_per_minute=550),
    )
    assert estimate == CallEstimate(1100, 160_000, 51_050, pytest.approx(0.8305), 120)
    assert estimate_calls(planned, "other", prices=PriceTable()).money is None
    slow = estimate_calls(planned, "m", limits=CallLimits(10, None, 21_105), seconds_per_call=1)
    assert slow.seconds == pytest.approx(600)
    assert estimate_calls(planned, "m", limits=CallLimits(11), seconds_per_call=2).seconds == 200


def test_planned_calls_need_a_prompt() -> None:
    with pytest.raises(ValueError, match="prompt"):
        PlannedCalls("rank", 1, [], 1)


def test_tokens_are_guessed_from_what_the_model_reported() -> None:
    guesses = TokenEstimator()
    assert guesses.estimate("rank", asking("x" * 396)) == (100, 256)
    guesses.learn("rank", asking("x" * 96), 50, 30)
    guesses.learn("rank", asking("x" * 96), 50, 50)
    assert guesses.estimate("rank", asking("x" * 396)) == (200, 40)
    # Another node has the mean of all until it has one of its own.
    assert guesses.estimate("repair", asking("x" * 396)) == (200, 40)
    guesses.learn("repair", asking("x"), 0, 4)
    assert guesses.estimate("repair", asking("x" * 396)) == (200, 4)
    guesses.learn("rank", asking("x"), 0, 0)
    assert guesses.estimate("rank", asking("x" * 396)) == (200, 40)
    assert guesses.estimate("rank", []) == (1, 40)


PRICES = PriceTable({"m": Price(1, 10), "n": Price(100, 100)}, "EUR")


async def test_tokens_are_spent_to_the_last_and_not_beyond() -> None:
    account = BudgetAccount(Budget(tokens=100))
    for _ in range(4):
        account.settle(await account.reserve("m", 20, 5), 20, 5)
    assert account.tokens_spent == 100
    with pytest.raises(ModelCallError) as caught:
        await account.reserve("m", 1, 0)
    assert caught.value.kind == "budget_spent"
    assert not caught.value.transient
    assert str(caught.value) == (
        "the budget of 100 tokens is spent: 100 are paid and the next call needs about 1; "
        "raise the budget and run again, what was answered so far is kept"
    )


async def test_money_follows_the_price_of_each_model() -> None:
    account = BudgetAccount(Budget(money=1.5), PRICES)
    account.settle(await account.reserve("m", 500_000, 0), 400_000, 10_000)
    assert account.money_spent == pytest.approx(0.5)
    with pytest.raises(ModelCallError, match=r"1\.5000 EUR is spent: 0\.5000 EUR are paid and"):
        await account.reserve("n", 10_000, 1_000)
    await account.reserve("n", 9_000, 0)


async def test_calls_in_flight_count_and_others_wait_for_what_they_really_cost() -> None:
    account = BudgetAccount(Budget(tokens=100))
    first = await account.reserve("m", 60, 0)
    second = asyncio.create_task(account.reserve("m", 50, 0))
    third = asyncio.create_task(account.reserve("m", 30, 0))
    await asyncio.sleep(0.01)
    # The third would fit, but it came later.
    assert not second.done()
    assert not third.done()
    account.settle(first, 10, 0)
    assert (await asyncio.wait_for(second, 5)).tokens == 50
    assert (await asyncio.wait_for(third, 5)).tokens == 30
    assert account.tokens_spent == 10


async def test_if_waiting_did_not_help_it_is_spent() -> None:
    account = BudgetAccount(Budget(tokens=100))
    first = await account.reserve("m", 60, 0)
    others = [asyncio.create_task(account.reserve("m", 50, 0)) for _ in range(20)]
    await asyncio.sleep(0.01)
    account.settle(first, 60, 0)
    outcomes = await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)
    assert [getattr(each, "kind", None) for each in outcomes] == ["budget_spent"] * 20


async def test_a_caller_that_leaves_sets_nothing_aside() -> None:
    account = BudgetAccount(Budget(tokens=100))
    first = await account.reserve("m", 100, 0)
    leaving = asyncio.create_task(account.reserve("m", 100, 0))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    account.settle(first, 0, 0)
    assert (await asyncio.wait_for(account.reserve("m", 100, 0), 5)).tokens == 100


async def test_what_a_journal_says_was_paid_counts() -> None:
    paid = [
        Spending("rank", "m", answers=2, input_tokens=50, output_tokens=10),
        Spending("rank", "n", failures=1, lost_input_tokens=30),
        Spending("rank", "unknown", failures=3),
    ]
    account = BudgetAccount(Budget(tokens=100), None, paid)
    assert account.tokens_spent == 90
    with pytest.raises(ModelCallError, match="90 are paid"):
        await account.reserve("m", 11, 0)
    await account.reserve("m", 10, 0)
    assert BudgetAccount(Budget(money=9), PRICES, paid).money_spent == pytest.approx(0.00315)


async def test_a_budget_of_nothing_pays_for_nothing() -> None:
    with pytest.raises(ModelCallError, match="budget of 0 tokens"):
        await BudgetAccount(Budget(tokens=0)).reserve("m", 1, 1)


def test_money_without_a_price_is_refused_before_anything_is_paid() -> None:
    with pytest.raises(InputError, match="price of 'x'"):
        BudgetAccount(Budget(money=1), PRICES).check("x")
    with pytest.raises(InputError, match="every model in the journal"):
        BudgetAccount(Budget(money=1), PRICES, [Spending("rank", "", 1, 0, 5)])
    BudgetAccount(Budget(tokens=1), None, [Spending("rank", "", 1, 0, 5)]).check("x")


@pytest.mark.parametrize("wrong", [{"tokens": -1}, {"money": -0.1}, {"money": float("nan")}])
def test_impossible_budgets_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budget"):
        Budget(**wrong)  # type: ignore[arg-type]
