"""`agentrec batch` in one process: a file of sessions in, exactly one result each out."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from app.batch_runs import json_lines, planted_test_sessions, rankings, results, run, write_sessions
from app.conftest import FinishedRun
from app.preference_runs import Settings
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.batch.partitions import BatchOptions
from agentrec.batch.run_batch import run_batch
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.recommendation.recommend_many import recommend_many
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy
from agentrec.rankings import Ranking
from agentrec.recommender import open_recommender
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.model_settings import LimitsSettings
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions


@pytest.fixture(scope="session")
def sessions(planted: PlantedSessions) -> list[Session]:
    return planted_test_sessions(planted)


@pytest.fixture
def source(sessions: list[Session], tmp_path: Path) -> Path:
    return write_sessions(tmp_path / "sessions.jsonl", sessions)


@pytest.fixture
def settings(finished: FinishedRun, settings_for: Settings) -> RunSettings:
    return settings_for(finished.folder)


@pytest.fixture
def hinting(finished: FinishedRun, tmp_path: Path) -> Path:
    """A copy of the run in which a policy is live that always gives the first of its hints."""
    folder = tmp_path / "hinting"
    shutil.copytree(finished.folder, folder)
    files = RunFolder(folder)
    first, *_ = files.hints.read_text().splitlines()
    FixedHintPolicy(Hint.model_validate_json(first).hint_id).save(files.live)
    return folder


def patch_answers(patch: pytest.MonkeyPatch, before_call: Callable[[int], None]) -> None:
    """Have the embedded model call something, with the number of the call, before it answers."""
    answer, calls = CatalogChatModel._agenerate, 0

    async def patched(self, *given, **options):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        before_call(calls)
        return await answer(self, *given, **options)

    patch.setattr(CatalogChatModel, "_agenerate", patched)


@pytest.mark.parametrize(("time_limit", "expected"), [(None, 6), (60.0, 4)])
def test_a_session_is_ready_for_the_next_call_unless_its_time_is_limited(
    settings: RunSettings,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    time_limit: float | None,
    expected: int,
) -> None:
    concurrencies: list[int] = []

    def recording(*given: Any, concurrency: int, **options: Any) -> Any:
        concurrencies.append(concurrency)
        return recommend_many(*given, concurrency=concurrency, **options)

    monkeypatch.setattr("agentrec.batch.worker.recommend_many", recording)
    limited = settings.model_copy(update={"limits": LimitsSettings(max_concurrency=4)})
    assert run(limited, source, tmp_path / "out", time_limit=time_limit).is_complete
    assert concurrencies == [expected]


def test_every_session_has_one_result_as_the_service_recommends(
    hinting: Path,
    settings_for: Settings,
    source: Path,
    sessions: list[Session],
    tmp_path: Path,
) -> None:
    async def by_the_service() -> list[Ranking]:
        async with open_recommender(run=hinting, journal=tmp_path / "calls.sqlite") as service:
            return [await service.recommend(session) for session in sessions]

    summary = run(settings_for(hinting), source, tmp_path / "out")
    assert (summary.done, summary.is_complete) == (len(sessions), True)
    assert all(row["seconds"] >= 0 for row in results(tmp_path / "out"))
    expected = []
    for row_index, ranking in enumerate(asyncio.run(by_the_service())):
        # The live policy chooses in both.
        assert ranking.hint_id
        content = ranking.model_dump(mode="json", exclude={"structured"})
        expected.append({"row_index": row_index, "items": content.pop("item_ids"), **content})
    rows = rankings(tmp_path / "out")
    assert rows == expected
    for row, session in zip(rows, sessions, strict=True):
        assert set(row["items"]) <= set(session.candidates)
        assert len(set(row["items"])) == len(row["items"]) == min(10, len(session.candidates))
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written == summary.model_dump(mode="json")


def test_the_same_command_again_does_nothing_and_appended_rows_are_added(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = tmp_path / "sessions.jsonl", tmp_path / "out"
    write_sessions(source, sessions[:10])
    run(settings, source, out)
    files = sorted((out / "results").iterdir())
    again = run(settings, source, out)
    assert (again.done, again.attempted) == (10, 0)
    assert sorted((out / "results").iterdir()) == files
    write_sessions(source, sessions)
    more = run(settings, source, out)
    assert (more.done, more.attempted) == (len(sessions), len(sessions) - 10)
    assert [row["session_id"] for row in results(out)] == [one.session_id for one in sessions]


def test_another_file_of_sessions_is_another_batch(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = tmp_path / "sessions.jsonl", tmp_path / "out"
    run(settings, write_sessions(source, sessions[:5]), out)
    for others in (sessions[1:9], sessions[:4]):
        with pytest.raises(InputError, match="is not the file that this batch was started with"):
            run(settings, write_sessions(source, others), out)
    with pytest.raises(InputError, match="already holds a batch"):
        run(settings, write_sessions(source, sessions[:5]), out, resume=False)
    assert len(results(out)) == 5


def test_another_run_is_another_batch(
    hinting: Path, settings_for: Settings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = write_sessions(tmp_path / "sessions.jsonl", sessions[:5]), tmp_path / "out"
    settings, live = settings_for(hinting), RunFolder(hinting).live
    run(settings, source, out)
    before = results(out)
    with pytest.raises(InputError, match="holds a run with seed 0, not 5"):
        run(settings.model_copy(update={"seed": 5}), source, out)
    policy = (live / "policy.json").read_bytes()
    NoHintPolicy().save(live)
    with pytest.raises(InputError, match="the run's policy changed since this batch was started"):
        run(settings, source, out)
    (live / "policy.json").write_bytes(policy)
    assert run(settings, source, out).attempted == 0
    added = CliRunner().invoke(app, ["kb", "add", "Prefer what is old.", "--base", str(hinting)])
    assert added.exit_code == 0, added.output
    with pytest.raises(InputError, match="the run's hints changed since this batch was started"):
        run(settings, source, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["identity"]["seed"] = 5
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"holds a run with seed 5, not 0; .* --out"):
        run(settings, source, out)
    assert results(out) == before


def test_partitions_give_what_the_whole_gives_and_bad_rows_are_rejected(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    again = sessions[2].model_dump_json(exclude={"target"}, exclude_none=True)
    unknown = sessions[0].model_copy(update={"session_id": "x", "items": ("nothing",)})
    bad = ["{", '{"session_id": "y"}', again, unknown.model_dump_json(exclude_none=True)]
    source = write_sessions(tmp_path / "sessions.jsonl", sessions, *bad)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    one, three = run(settings, source, whole), run(settings, source, parts, partitions=3)
    reasons = ("not_json", "missing_field", "duplicate_id", "unknown_item")
    for summary in (one, three, run(settings, source, parts)):
        assert (summary.done, summary.rejected) == (len(sessions), dict.fromkeys(reasons, 1))
    assert rankings(parts) == rankings(whole)
    rejected = json_lines(whole / "rejected.jsonl")
    assert json_lines(parts / "rejected.jsonl") == rejected
    found = [(row["row_index"], row["reason"]) for row in rejected]
    assert found == list(enumerate(reasons, len(sessions)))
    assert all(row["problem"] for row in rejected)
    assert rejected[2]["session_id"] == sessions[2].session_id
    # Each partition asks whether the model supports structured output; else they share nothing.
    assert one.usage.calls <= three.usage.calls <= one.usage.calls + 2
    prefixes = {file.name[:9] for file in parts.glob("results/*")}
    assert prefixes == {f"part-{index:03d}-" for index in range(3)}
    assert run(settings, source, parts).attempted == 0
    with pytest.raises(InputError, match="has 3; leave --partitions out"):
        run(settings, source, parts, partitions=2)


def test_parquet_comes_out_as_columns(
    settings: RunSettings, source: Path, sessions: list[Session], tmp_path: Path
) -> None:
    run(settings, source, tmp_path / "out", result_format="parquet")
    table = pq.read_table(tmp_path / "out" / "results")
    assert table.column("session_id").to_pylist() == [one.session_id for one in sessions]
    assert all(len(items) for items in table.column("items").to_pylist())


def test_failures_are_written_and_tried_again_on_request(
    settings: RunSettings,
    source: Path,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail_each_fourth(call: int) -> None:
        if call % 4 == 0:
            raise ModelCallError("the endpoint refuses", kind="refused")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch_answers(patch, fail_each_fourth)
        summary = run(settings, source, out)
    assert summary.failed["refused"] > 0
    assert summary.done + sum(summary.failed.values()) == len(sessions)
    failures = json_lines(out / "failures.jsonl")
    assert {row["problem"] for row in failures} == {"the endpoint refuses"}
    assert run(settings, source, out).attempted == 0
    retried = run(settings, source, out, retry_failed=True)
    assert (retried.is_complete, retried.attempted) == (True, len(failures))
    assert not (out / "failures.jsonl").exists()
    assert len(rankings(out)) == len(sessions)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_spent_budget_stops_the_batch_and_a_larger_one_resumes_it(
    partitions: int, settings: RunSettings, source: Path, sessions: list[Session], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = run(settings, source, tmp_path / "whole", partitions=partitions)
    tokens = whole.usage.input_tokens + whole.usage.output_tokens
    one_call = tokens / len(sessions)

    def limited(most: int) -> RunSettings:
        budget = settings.budget.model_copy(update={"tokens": most})
        return settings.model_copy(update={"budget": budget})

    with pytest.raises(ModelCallError, match=r"the budget of \d+ tokens is spent") as caught:
        run(limited(tokens // 2), source, out, partitions=partitions)
    assert caught.value.kind == "budget_spent"
    usage = json.loads((out / "summary.json").read_text())["usage"]
    spent = usage["input_tokens"] + usage["output_tokens"]
    # Estimates before a call differ from its cost; no partition is left with more than that.
    assert tokens / 2 - 8 * one_call < spent <= tokens / 2 + 3 * one_call
    assert 0 < len(results(out)) < len(sessions)
    # Enough for all, though partitions differ in size: what one does not need another gets.
    resumed = run(limited(round(1.1 * tokens)), source, out)
    assert resumed.is_complete
    assert resumed.usage.calls == whole.usage.calls
    assert len(rankings(out)) == len(sessions)


def test_a_cancelled_batch_leaves_valid_output_and_is_resumed(
    settings: RunSettings,
    source: Path,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, calls, half = tmp_path / "out", 0, asyncio.Event()
    settings = settings.model_copy(update={"limits": LimitsSettings(max_concurrency=2)})

    def count(call: int) -> None:
        nonlocal calls
        calls = call
        if call == len(sessions) // 2:
            half.set()

    patch_answers(monkeypatch, count)

    async def cancel_at_half() -> None:
        options = BatchOptions(sessions=source, out=out, result_format="jsonl")
        task = asyncio.create_task(run_batch(settings, options))
        await half.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_at_half())
    assert 0 < len(rankings(out)) < len(sessions)
    assert run(settings, source, out).is_complete
    # Only the two calls in flight were made again.
    assert len(sessions) <= calls <= len(sessions) + 2
    assert len(rankings(out)) == len(sessions)
