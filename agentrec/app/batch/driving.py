"""Driving a batch to its end: what is left of the budget goes to the parts that need it."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.app.batch.engine import BatchEngine
from agentrec.app.batch.gathering import spent_in
from agentrec.app.batch.partition_work import PartitionTask
from agentrec.app.batch.shares import Spent, budget_spent, share_of_budget
from agentrec.app.settings import DemoSettings


async def drive(
    engine: BatchEngine, tasks: Sequence[PartitionTask], settings: DemoSettings
) -> None:
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
    if len(tasks) == 1 or settings.budget.budget() is None:
        if await engine.run(tasks):
            raise budget_spent(settings, await _spent(tasks, settings))
        return
    unfinished, paid = list(tasks), -1.0
    while unfinished:
        spent = {task.partition: await spent_in(task.folder, settings) for task in tasks}
        everywhere = sum(spent.values(), Spent())
        if everywhere.money + everywhere.tokens <= paid:
            raise budget_spent(settings, everywhere)
        paid = everywhere.money + everywhere.tokens
        parts = [task.partition for task in unfinished]
        shared = [
            task.model_copy(
                update={"settings": share_of_budget(task.settings, task.partition, spent, parts)}
            )
            for task in unfinished
        ]
        out_of_money = await engine.run(shared)
        unfinished = [task for task in tasks if task.partition in out_of_money]


async def _spent(tasks: Sequence[PartitionTask], settings: DemoSettings) -> Spent:
    return sum([await spent_in(task.folder, settings) for task in tasks], Spent())
