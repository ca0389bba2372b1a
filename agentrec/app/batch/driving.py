"""Driving a batch to its end: what is left of the budget goes to the parts that need it."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.app.batch.engine import BatchEngine
from agentrec.app.batch.gathering import spent_in
from agentrec.app.batch.partition_work import PartitionTask
from agentrec.app.batch.shares import Spent, budget_spent, share_of_budget
from agentrec.settings.run_settings import RunSettings


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
