"""Limits and budget divided among workers, and the schedule that has all partitions worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentrec.batch.partitions import Partition
from agentrec.batch.progress import BatchProgress
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.errors import InputError, ModelCallError
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.journal import CallJournal
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.run_settings import RunSettings


class BatchEngine(Protocol):
    """Has partitions of a batch worked on.

    A worker may die: its partition is started again, because the log knows what is done.
    """

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on partitions. When cancelled, stop all work before returning.

        Args:
            tasks: The partitions.

        Returns:
            Those that stopped early because their budget was spent.

        Raises:
            AgentRecError: Any other failure of a partition; the others are stopped.
        """
        ...

    async def progress(self) -> BatchProgress:
        """Return what this attempt has done so far."""
        ...


class InProcessEngine:
    """Works on partitions in this process, one after the other.

    Args:
        worker: Works on them.
    """

    def __init__(self, worker: PartitionWorker) -> None:
        self._worker = worker
        self._before = BatchProgress()

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on partitions; see ``BatchEngine.run``.

        Raises:
            ModelCallError: Also if the budget is spent and there is only one partition.
        """
        out_of_budget = []
        for task in tasks:
            self._before = await self.progress()
            try:
                await self._worker.work(task)
            except ModelCallError as error:
                if error.kind != "budget_spent" or len(tasks) == 1:
                    raise
                out_of_budget.append(task.partition)
        return out_of_budget

    async def progress(self) -> BatchProgress:
        """Return what this attempt has done so far."""
        return self._before + self._worker.progress()


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


async def schedule_partitions(
    engine: BatchEngine, tasks: Sequence[PartitionTask], settings: RunSettings
) -> None:
    """Have all partitions worked on.

    They share the budget. What a partition does not need of its share goes to the others, until
    all are done or none can pay for another call.

    Args:
        engine: Works on them.
        tasks: All partitions.
        settings: Settings with the budget of all.

    Raises:
        ModelCallError: Of kind ``budget_spent``, if the budget is too small.
        AgentRecError: Any other failure of a partition.
    """
    unfinished = list(tasks)
    spent_before: Spent | None = None
    had_everything = False
    while unfinished:
        spent = {task.partition: await spent_in(task.folder, settings) for task in tasks}
        total = sum(spent.values(), Spent())
        if had_everything or total == spent_before:
            raise _budget_spent(settings, total)
        # The last one has everything that is left; another try would change nothing.
        spent_before, had_everything = total, len(unfinished) == 1
        sharing = [task.partition for task in unfinished]
        shared = [
            task.model_copy(
                update={"settings": split_budget(task.settings, task.partition, spent, sharing)}
            )
            for task in unfinished
        ]
        out_of_budget = await engine.run(shared)
        unfinished = [task for task in tasks if task.partition in out_of_budget]


def split_limits(settings: RunSettings, workers: int) -> RunSettings:
    """Return settings for one of several workers, who together keep the given limits.

    Args:
        settings: With the limits of all.
        workers: How many there are, at least 1.

    Raises:
        InputError: If there are more workers than calls may be in flight.
    """
    limits = settings.limits
    if workers > limits.max_concurrency:
        raise InputError(
            f"{workers} workers cannot share {limits.max_concurrency} calls in flight; use fewer"
            " workers or raise --concurrency",
            field="workers",
        )
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    split = limits.model_copy(
        update={
            "max_concurrency": limits.max_concurrency // workers,
            "requests_per_minute": None if requests is None else requests / workers,
            "tokens_per_minute": None if tokens is None else tokens / workers,
        }
    )
    return settings.model_copy(update={"limits": split})


def split_budget(
    settings: RunSettings,
    partition: Partition,
    spent: Mapping[Partition, Spent],
    sharing: Sequence[Partition],
) -> RunSettings:
    """Return settings with a partition's budget: what it has spent and its share of the rest.

    Args:
        settings: With the budget of all.
        partition: The partition.
        spent: What each partition has spent.
        sharing: The partitions that share the rest, this one included.
    """
    budget = settings.budget
    total, own = sum(spent.values(), Spent()), spent[partition]
    changes: dict[str, float] = {}
    if budget.tokens is not None:
        rest = max(0, budget.tokens - total.tokens)
        changes["tokens"] = own.tokens + rest // len(sharing)
    if budget.money is not None:
        changes["money"] = own.money + max(0.0, budget.money - total.money) / len(sharing)
    return settings.model_copy(update={"budget": budget.model_copy(update=changes)})


async def spent_in(folder: Path, settings: RunSettings) -> Spent:
    """Return what was paid according to a partition's journal; nothing if there is none.

    Args:
        folder: The partition's folder.
        settings: Settings with budget and prices.

    Raises:
        InputError: If the budget is in money, and a model that was paid has no price.
    """
    budget, calls = settings.budget.budget(), RunFolder(folder).calls
    if budget is None or not await asyncio.to_thread(calls.is_file):
        return Spent()
    async with await CallJournal.open(calls) as journal:
        account = BudgetAccount(budget, settings.prices.table(), await journal.spendings())
    return Spent(account.tokens_spent, account.money_spent)


def _budget_spent(settings: RunSettings, spent: Spent) -> ModelCallError:
    budget, shown = settings.budget, settings.prices.table().shown
    if budget.money is not None:
        line = f"the budget of {shown(budget.money)} is spent: {shown(spent.money)} are paid"
    else:
        line = f"the budget of {budget.tokens} tokens is spent: {spent.tokens} are paid"
    return ModelCallError(
        f"{line}, and the rest is too little for the next calls; raise the budget and run the same"
        " command again, paid answers are kept",
        kind="budget_spent",
    )
