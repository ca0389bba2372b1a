"""What a run learnt, kept open for many callers."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from app.batch_runs import planted_test_sessions
from app.conftest import FinishedRun
from testing.recorded_telemetry import RecordedTelemetry

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError
from agentrec.recommender import Recommender, open_recommender
from agentrec.sessions import Session
from agentrec.testing.planted_sessions import PlantedSessions


def opened(
    run: FinishedRun, journal: Path, settings: dict[str, object] | None = None
) -> AbstractAsyncContextManager[Recommender]:
    return open_recommender(run=run.folder, journal=journal, settings=settings)


@pytest.fixture(scope="module")
def sessions(planted: PlantedSessions) -> list[Session]:
    return planted_test_sessions(planted)


async def test_hundreds_of_callers_get_what_one_after_the_other_would(
    finished: FinishedRun, sessions: list[Session], tmp_path: Path
) -> None:
    usage = (finished.folder / "usage.json").read_bytes()
    async with open_recommender(
        run=finished.folder, journal=tmp_path / "one.sqlite"
    ) as recommender:
        alone = [await recommender.recommend(session) for session in sessions]
    async with open_recommender(
        run=finished.folder, journal=tmp_path / "many.sqlite"
    ) as recommender:
        made = await asyncio.gather(*(recommender.recommend(one) for one in sessions * 10))
        asked = recommender.components.model.calls["made"]["recommend"]
    assert made == alone * 10
    # Callers that ask the same share one call.
    assert asked == len(sessions)
    # What the run itself came to is told of as before.
    assert (finished.folder / "usage.json").read_bytes() == usage


async def test_a_caller_that_gives_up_costs_nobody_else_anything(
    finished: FinishedRun,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, gate = CatalogChatModel._agenerate, asyncio.Event()

    async def held(self, messages, *given, **options):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await answer(self, messages, *given, **options)

    monkeypatch.setattr(CatalogChatModel, "_agenerate", held)
    async with open_recommender(
        run=finished.folder, journal=tmp_path / "calls.sqlite"
    ) as recommender:
        with pytest.raises(TimeoutError):
            await recommender.recommend(sessions[0], time_limit=0.05)
        leaving = asyncio.create_task(recommender.recommend(sessions[1]))
        staying = asyncio.create_task(recommender.recommend(sessions[1]))
        await asyncio.sleep(0.05)
        leaving.cancel()
        gate.set()
        assert (await staying).session_id == sessions[1].session_id
        assert (await recommender.recommend(sessions[0])).session_id == sessions[0].session_id
        with pytest.raises(asyncio.CancelledError):
            await leaving


async def test_callers_are_told_of_as_sessions(
    finished: FinishedRun,
    sessions: list[Session],
    tmp_path: Path,
    telemetry: RecordedTelemetry,
) -> None:
    async with open_recommender(
        run=finished.folder, journal=tmp_path / "calls.sqlite"
    ) as recommender:
        await asyncio.gather(*(recommender.recommend(session) for session in sessions[:3]))
        with pytest.raises(TimeoutError):
            await recommender.recommend(sessions[3], time_limit=1e-9)
        with pytest.raises(KeyError):
            await recommender.recommend(sessions[4].model_copy(update={"items": ("none",)}))
        calls = recommender.components.model.usage.total.calls
    told = telemetry.counts("agentrec.session.duration", "error.type")
    assert told == {None: 3, "unfinished": 1, "error": 1}
    assert sum(telemetry.counts("gen_ai.client.operation.duration", "").values()) == calls


async def test_settings_for_the_service_alone(
    finished: FinishedRun,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, flying, most = CatalogChatModel._agenerate, 0, 0

    async def counted(self, messages, *given, **options):  # type: ignore[no-untyped-def]
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        try:
            # Long enough for all that may come to be on their way together.
            await asyncio.sleep(0.1)
            return await answer(self, messages, *given, **options)
        finally:
            flying -= 1

    async def most_in_flight(name: str, settings: dict[str, object] | None) -> int:
        nonlocal most
        most, calls = 0, tmp_path / f"{name}.sqlite"
        async with open_recommender(
            run=finished.folder, settings=settings, journal=calls
        ) as recommender:
            await asyncio.gather(*(recommender.recommend(one) for one in sessions[:12]))
        return most

    monkeypatch.setattr(CatalogChatModel, "_agenerate", counted)
    assert await most_in_flight("three", {"limits": {"max_concurrency": 3}}) == 3
    # The run's own settings let more of the same sessions go at a time.
    assert await most_in_flight("own", None) > 3


async def test_where_no_run_is_there_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run here"):
        async with open_recommender(run=tmp_path / "no"):
            pass


async def test_a_trained_policy_serves_without_its_run(
    finished: FinishedRun,
    planted: PlantedSessions,
    embedded: CatalogChatModel,
    sessions: list[Session],
    tmp_path: Path,
) -> None:
    hints = tmp_path / "hints"
    shutil.copytree(finished.folder / "knowledge-base", hints)
    policy = finished.folder / "policies" / "scoring_ppo"

    def choose(catalog: Path) -> AbstractAsyncContextManager[Recommender]:
        # Embeddings and state blocks come from the policy.
        return open_recommender(catalog=catalog, llm=embedded, hints=hints, policy=policy)

    async with choose(planted.folder) as recommender:
        made = await recommender.recommend_many(sessions)
    async with open_recommender(
        run=finished.folder, policy=policy, journal=tmp_path / "calls.sqlite"
    ) as recommender:
        assert made == await recommender.recommend_many(sessions)
    with pytest.raises(InputError, match="use the items and training sessions"):
        async with choose(planted.folder / "items.jsonl"):
            pass
