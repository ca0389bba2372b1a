"""What drives the work on a batch's parts: this process, processes of this machine, or Ray."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from agentrec.app.batch.partition_work import PartitionTask, PartitionWorker
from agentrec.app.batch.standing import Standing
from agentrec.assembly import PATIENCE
from agentrec.batch.partitions import Partition
from agentrec.errors import (
    AgentRecError,
    FailureKind,
    InputError,
    ModelCallError,
    StoreError,
)

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
