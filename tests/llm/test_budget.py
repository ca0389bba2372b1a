import asyncio

import pytest

from agentrec.errors import InputError, ModelCallError
from agentrec.llm.cost.budget import Budget, BudgetAccount
from agentrec.llm.cost.prices import Price, PriceTable
from agentrec.llm.cost.usage import Spending

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
