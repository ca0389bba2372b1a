"""What each of several workers may do of what all together may: limits and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentrec.batch.partitions import Partition
from agentrec.errors import InputError, ModelCallError
from agentrec.settings.run_settings import RunSettings


@dataclass(frozen=True)
class Spent:
    """What was paid.

    Attributes:
        tokens: Tokens read and written.
        money: What they cost.
    """

    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.money + other.money)


def share_of_limits(settings: RunSettings, workers: int) -> RunSettings:
    """Settings whose limits are for one of several workers: all together keep those of all.

    Args:
        settings: With the limits of all.
        workers: How many there are, at least 1.

    Raises:
        InputError: If there are more workers than calls may be in flight.
    """
    limits = settings.limits
    if workers > limits.max_concurrency:
        raise InputError(
            f"{workers} workers cannot share {limits.max_concurrency} calls in flight; take fewer"
            " workers or raise --concurrency",
            field="workers",
        )
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    shared = limits.model_copy(
        update={
            "max_concurrency": limits.max_concurrency // workers,
            "requests_per_minute": None if requests is None else requests / workers,
            "tokens_per_minute": None if tokens is None else tokens / workers,
        }
    )
    return settings.model_copy(update={"limits": shared})


def share_of_budget(
    settings: RunSettings,
    partition: Partition,
    spent: Mapping[Partition, Spent],
    unfinished: Sequence[Partition],
) -> RunSettings:
    """Settings whose budget is for one part: what it has spent, and its share of what is left.

    Args:
        settings: With the budget of all.
        partition: The part.
        spent: What each part has spent.
        unfinished: The parts that share what is left, this one among them.
    """
    budget = settings.budget
    everywhere, here = sum(spent.values(), Spent()), spent[partition]
    changes: dict[str, float] = {}
    if budget.tokens is not None:
        left = max(0, budget.tokens - everywhere.tokens)
        changes["tokens"] = here.tokens + left // len(unfinished)
    if budget.money is not None:
        changes["money"] = here.money + max(0.0, budget.money - everywhere.money) / len(unfinished)
    return settings.model_copy(update={"budget": budget.model_copy(update=changes)})


def budget_spent(settings: RunSettings, spent: Spent) -> ModelCallError:
    """What to say when no part can go on with its share of what is left."""
    budget, shown = settings.budget, settings.prices.table().shown
    if budget.money is not None:
        told = f"the budget of {shown(budget.money)} is spent: {shown(spent.money)} are paid"
    else:
        told = f"the budget of {budget.tokens} tokens is spent: {spent.tokens} are paid"
    return ModelCallError(
        f"{told}, and what is left is too little for the calls that are to be made;"
        " raise the budget and run again, what was answered so far is kept",
        kind="budget_spent",
    )
