"""What each of several workers may do of what all together may: limits and money."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from agentrec.batch.partitions import Partition
from agentrec.batch.progress import Standing
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.errors import (
    AgentRecError,
    FailureKind,
    InputError,
    ModelCallError,
    StoreError,
)
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.journal.journal import CallJournal
from agentrec.runs.open_run import PATIENCE
from agentrec.runs.run_folder import RunFolder
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


async def spent_in(folder: Path, settings: RunSettings) -> Spent:
    """What a part's journal says was paid; nothing where there is none.

    Args:
        folder: The part's folder.
        settings: Whose budget and prices are used.

    Raises:
        InputError: If the budget is of money, and a model that was paid has no price.
    """
    budget, calls = settings.budget.budget(), RunFolder(folder).calls
    if budget is None or not await asyncio.to_thread(calls.is_file):
        return Spent()
    async with await CallJournal.open(calls) as journal:
        account = BudgetAccount(budget, settings.prices.table(), await journal.spendings())
    return Spent(account.tokens_spent, account.money_spent)


TO_END = PATIENCE + 0.5
"""For how many seconds a process that is to stop is waited for."""


class BatchEngine(Protocol):
    """Has parts of a batch worked on.

    Whatever it uses for that may die: the part is begun again, for its log knows what is done.
    """

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on parts; may be cancelled, and has ended all work when that is over.

        Args:
            tasks: The parts.

        Returns:
            Those that ended before their time because their budget was spent.

        Raises:
            AgentRecError: What a part failed with otherwise; the other ones are stopped.
        """
        ...

    async def standing(self) -> Standing:
        """What this attempt came to up to now."""
        ...


class WorkerError(AgentRecError):
    """A process that worked on a part failed in a way that is no fault of the input."""


class PartitionEnd(BaseModel):
    """How the work on a part ended, told from one process to another.

    Attributes:
        partition: The part.
        kind: ``done``, ``stopped`` by who drives it, or what it failed with.
        call: The kind of a call's failure.
        problem: What is wrong, in one line.
        trace: The traceback, for ``--debug``.
    """

    model_config = ConfigDict(frozen=True)

    partition: Partition
    kind: Literal["done", "stopped", "input", "call", "store", "other"] = "done"
    call: FailureKind = "failed"
    problem: str = ""
    trace: str = ""

    @classmethod
    def failed(cls, partition: Partition, error: Exception) -> PartitionEnd:
        """The end that an exception is."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, ModelCallError):
            return cls(
                partition=partition, kind="call", call=error.kind, problem=str(error), trace=trace
            )
        if isinstance(error, InputError):
            return cls(partition=partition, kind="input", problem=str(error), trace=trace)
        if isinstance(error, StoreError):
            return cls(partition=partition, kind="store", problem=str(error), trace=trace)
        named = str(error)
        if not isinstance(error, AgentRecError):
            named = f"{type(error).__name__}: {named}"
        return cls(partition=partition, kind="other", problem=named, trace=trace)

    @property
    def is_out_of_money(self) -> bool:
        """Whether it ended because its budget was spent."""
        return self.kind == "call" and self.call == "budget_spent"

    def error(self) -> AgentRecError:
        """The failure as it was raised elsewhere, with its traceback as a note."""
        error: AgentRecError
        if self.kind == "call":
            error = ModelCallError(self.problem, kind=self.call)
        elif self.kind == "input":
            error = InputError(self.problem)
        elif self.kind == "store":
            error = StoreError(self.problem)
        else:
            error = WorkerError(self.problem)
        error.add_note(f"In the process that worked on part {self.partition.number}:\n{self.trace}")
        return error


class OwnProcess:
    """Works on the parts of a batch in this process, one after the other.

    Args:
        worker: Who works on them.
    """

    def __init__(self, worker: PartitionWorker) -> None:
        self._worker = worker
        self._before = Standing()

    async def run(self, tasks: Sequence[PartitionTask]) -> list[Partition]:
        """Work on parts; see ``BatchEngine.run``.

        Raises:
            ModelCallError: Also if the budget is spent and there is but one part.
        """
        out_of_money = []
        for task in tasks:
            self._before = await self.standing()
            try:
                await self._worker.work(task)
            except ModelCallError as error:
                if error.kind != "budget_spent" or len(tasks) == 1:
                    raise
                out_of_money.append(task.partition)
        return out_of_money

    async def standing(self) -> Standing:
        """What this attempt came to up to now."""
        return self._before + self._worker.standing()


async def drive(engine: BatchEngine, tasks: Sequence[PartitionTask], settings: RunSettings) -> None:
    """Have all parts worked on.

    Parts share the budget. One that needs less than its share leaves the rest to the others, who
    go on with it, until all are done or nobody can pay another call.

    Args:
        engine: What does it.
        tasks: All parts.
        settings: Whose budget all of them keep together.

    Raises:
        ModelCallError: Of kind ``budget_spent``, if the budget does not do.
        AgentRecError: What a part failed with otherwise.
    """
    unfinished = list(tasks)
    paid: Spent | None = None
    had_all = False
    while unfinished:
        spent = {task.partition: await spent_in(task.folder, settings) for task in tasks}
        everywhere = sum(spent.values(), Spent())
        if had_all or everywhere == paid:
            raise budget_spent(settings, everywhere)
        # Who is alone has all that is left, and need not be asked again.
        paid, had_all = everywhere, len(unfinished) == 1
        parts = [task.partition for task in unfinished]
        shared = [
            task.model_copy(
                update={"settings": share_of_budget(task.settings, task.partition, spent, parts)}
            )
            for task in unfinished
        ]
        out_of_money = await engine.run(shared)
        unfinished = [task for task in tasks if task.partition in out_of_money]
