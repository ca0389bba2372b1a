"""The engine for several workers, without Ray: actors and their processes are played."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentrec.batch import ray_engine
from agentrec.batch.partitions import BatchOptions, partitions
from agentrec.batch.progress import BatchProgress
from agentrec.batch.ray_engine import PartitionActor, PartitionOutcome, RayEngine, WorkerError
from agentrec.batch.worker import PartitionTask, PartitionWorker
from agentrec.errors import AgentRecError, InputError, ModelCallError, StoreError
from agentrec.settings.run_settings import RunSettings

TASKS = [
    PartitionTask(
        settings=RunSettings(),
        options=BatchOptions(sessions=Path("sessions.jsonl"), out=Path("out")),
        partition=partition,
    )
    for partition in partitions(3)
]


class PlayedWorker(PartitionWorker):
    """Raises an error, or works until it is stopped."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    def progress(self) -> BatchProgress:
        return BatchProgress(done=7)

    async def work(self, task: PartitionTask) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("is missing", file="a.jsonl"), InputError("is missing", file="a.jsonl")),
        (ModelCallError("refused", kind="refused"), ModelCallError("refused", kind="refused")),
        (StoreError("is open"), StoreError("is open")),
        (KeyError("x"), WorkerError("KeyError: 'x'")),
    ],
)
async def test_an_error_arrives_as_it_was_raised(error: Exception, expected: AgentRecError) -> None:
    outcome = await PartitionActor(PlayedWorker(error)).work(TASKS[1])
    arrived = pickle.loads(pickle.dumps(outcome)).error  # As Ray sends it.
    assert (type(arrived), str(arrived)) == (type(expected), str(expected))
    assert arrived.exit_code == expected.exit_code
    assert "In the worker of partition 1" in arrived.__notes__[0]
    assert "Traceback" in arrived.__notes__[0]
    assert not outcome.is_out_of_budget


async def test_a_spent_budget_is_an_outcome_of_its_own() -> None:
    spent = PlayedWorker(ModelCallError("spent", kind="budget_spent"))
    outcome = await PartitionActor(spent).work(TASKS[0])
    assert outcome.is_out_of_budget
    assert outcome.progress.done == 7


async def test_an_actor_stops_on_request() -> None:
    actor = PartitionActor(PlayedWorker(None))
    working = asyncio.create_task(actor.work(TASKS[0]))
    await asyncio.sleep(0)
    assert (await actor.progress()).done == 7
    await actor.stop()
    assert (await working).error is None


Play = Callable[[PartitionTask, Callable[[BatchProgress], None]], PartitionOutcome]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Play], RayEngine]:
    """An engine of two workers whose actors' processes do what a function says."""

    def engine(work: Play) -> RayEngine:
        class PlayedProcess:
            async def work(
                self, task: PartitionTask, report: Callable[[BatchProgress], None]
            ) -> PartitionOutcome:
                await asyncio.sleep(0)
                return work(task, report)

            async def stop(self) -> None:
                stopped.append(self)

            async def end(self) -> None:
                pass

        stopped: list[object] = []
        monkeypatch.setattr(ray_engine, "_Actor", PlayedProcess)
        monkeypatch.setattr(ray_engine, "_connect", lambda workers: False)
        monkeypatch.setattr(ray_engine, "find_spec", lambda name: object())
        return RayEngine(2)

    return engine


async def test_a_partition_whose_worker_dies_is_started_again(
    play: Callable[[Play], RayEngine],
) -> None:
    starts: list[int] = []

    def die_at_first(
        task: PartitionTask, report: Callable[[BatchProgress], None]
    ) -> PartitionOutcome:
        starts.append(task.partition.index)
        if starts.count(task.partition.index) <= 4:
            # Each one gets something done before it dies.
            report(BatchProgress(done=2))
            raise ray_engine._ActorDiedError("out of memory")
        return PartitionOutcome(BatchProgress(done=1, skipped=8))

    engine = play(die_at_first)
    assert await engine.run(TASKS) == []
    assert sorted(starts) == sorted([0, 1, 2] * 5)
    # What a successor skipped is what its predecessors did.
    assert await engine.progress() == BatchProgress(done=27)


async def test_a_worker_that_cannot_live_is_given_up(play: Callable[[Play], RayEngine]) -> None:
    def die(task: PartitionTask, report: Callable[[BatchProgress], None]) -> PartitionOutcome:
        raise ray_engine._ActorDiedError("signal 11")

    with pytest.raises(WorkerError, match=r"died 3 times without .* last with: signal 11"):
        await play(die).run(TASKS)


async def test_an_error_stops_the_batch_and_a_spent_budget_does_not(
    play: Callable[[Play], RayEngine],
) -> None:
    errors: Sequence[AgentRecError | None] = [ModelCallError("", kind="budget_spent"), None, None]

    def end(task: PartitionTask, report: Callable[[BatchProgress], None]) -> PartitionOutcome:
        return PartitionOutcome(BatchProgress(), errors[task.partition.index])

    assert await play(end).run(TASKS) == [TASKS[0].partition]
    errors = [None, InputError("is missing"), None]
    with pytest.raises(InputError, match="is missing"):
        await play(end).run(TASKS)
