"""What a run would cost, told before it is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from agentrec.app.learning.planning import CallPlan, plan_run
from agentrec.app.reports.tables import new_table
from agentrec.data import Dataset
from agentrec.llm.cost.estimate import CallEstimate, estimate_calls
from agentrec.llm.cost.prices import PriceTable
from agentrec.llm.cost.usage import Spending
from agentrec.llm.journal.journal import CallJournal
from agentrec.llm.prompts.templates import Prompts
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.run_settings import RunSettings

_SECONDS_PER_CALL = 2.0


async def tell_plan(
    settings: RunSettings,
    dataset: Dataset,
    prompts: Prompts,
    model: str | None,
    console: Console,
) -> None:
    """Print calls, tokens, money and time of a run, and what they rest on.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        model: The model's identity; ``None`` for the embedded one.
        console: Where to print.
    """
    paid = await paid_in(RunFolder(settings.run).calls)
    plan = await plan_run(settings, dataset, prompts, paid)
    print_plan(plan, settings, model, paid, settings.run, console)


def print_plan(
    plan: CallPlan,
    settings: RunSettings,
    model: str | None,
    paid: Sequence[Spending],
    folder: Path,
    console: Console,
) -> None:
    """Print what planned calls come to.

    Args:
        plan: The calls.
        settings: Prices, limits and the budget.
        model: The model's identity; ``None`` for the embedded one.
        paid: What was paid before.
        folder: Where that lies.
        console: Where to print.
    """
    prices, limits = settings.prices.table(), settings.limits.limits()
    name = model or "the embedded model"
    priced = prices.price(name) is not None
    table = new_table(f"What a run with {name} would come to")
    table.add_column("for", no_wrap=True)
    heads = ["calls", "tokens read", "tokens written"]
    for head in [*heads, *([prices.currency or "money"] if priced else [])]:
        table.add_column(head, justify="right", no_wrap=True)

    def add(title: str, told: CallEstimate) -> None:
        counts = (told.calls, told.input_tokens, told.output_tokens)
        money = [] if told.money is None else [f"{told.money:,.4f}"]
        table.add_row(title, *(f"{count:,}" for count in counts), *money)

    for each in plan.calls:
        add(each.node, estimate_calls([each], name, prices=prices))
    total = estimate_calls(
        plan.calls, name, prices=prices, limits=limits, seconds_per_call=_SECONDS_PER_CALL
    )
    add("total", total)
    console.print(table)
    lines = [*_advice(settings, prices, model, total)]
    if model is not None:
        length = timedelta(seconds=round(total.seconds))
        lines.append(
            f"time: {length} or more, with {limits.max_concurrency} calls at a time of"
            f" {_SECONDS_PER_CALL:g} s each"
            + "".join(
                f", {rate:g} {what} a minute"
                for rate, what in (
                    (limits.requests_per_minute, "calls"),
                    (limits.tokens_per_minute, "tokens"),
                )
                if rate is not None
            )
        )
    lines += [f"based on: {line}" for line in plan.basis]
    answers = sum(each.answers for each in paid)
    if answers:
        lines.append(f"{answers:,} answers are in {folder} already and cost nothing again")
    for line in [*lines, "Nothing was asked and nothing is paid."]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


async def paid_in(file: Path) -> tuple[Spending, ...]:
    """What a call journal says was paid; nothing where there is none."""
    if not await asyncio.to_thread(file.is_file):
        return ()
    async with await CallJournal.open(file) as journal:
        return await journal.spendings()


def _advice(
    settings: RunSettings, prices: PriceTable, model: str | None, total: CallEstimate
) -> list[str]:
    if model is None:
        return ["The embedded model runs on this computer and costs nothing."]
    tokens, money = settings.budget.tokens, settings.budget.money
    lines = []
    if total.money is None:
        lines.append(f"money: no price of {settings.llm.name} is set (settings, prices.models)")
    if tokens is None and money is None:
        return [*lines, "No budget is set; --limit-cost or --limit-tokens sets one."]
    parts = [] if tokens is None else [f"{tokens:,} tokens"]
    parts += [] if money is None else [prices.shown(money)]
    too_small = (tokens is not None and total.input_tokens + total.output_tokens > tokens) or (
        money is not None and total.money is not None and total.money > money
    )
    verdict = "which is less than this" if too_small else "which is enough for this"
    return [*lines, f"The budget is {' and '.join(parts)}, {verdict}."]
