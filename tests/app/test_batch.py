"""`agentrec batch`: a file of sessions in, one result each out, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from app.batch_runs import of_planted, results, run, written
from app.conftest import FinishedRun
from app.preference_runs import Settings, quiet
from typer.testing import CliRunner

from agentrec.app.batch.work import BatchOptions, run_batch
from agentrec.app.cli.main import app
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
    return of_planted(planted)


@pytest.fixture
def source(sessions: list[Session], tmp_path: Path) -> Path:
    return written(tmp_path / "sessions.jsonl", sessions)


@pytest.fixture
def settings(finished: FinishedRun, settings_for: Settings) -> RunSettings:
    return settings_for(finished.folder)


@pytest.fixture
def hinting(finished: FinishedRun, tmp_path: Path) -> Path:
    """A copy of the run in which a policy is live that always gives the first of its hints."""
    folder = tmp_path / "hinting"
    shutil.copytree(finished.folder, folder)
    place = RunFolder(folder)
    first, *_ = place.hints.read_text().splitlines()
    FixedHintPolicy(Hint.model_validate_json(first).hint_id).save(place.live)
    return folder


@pytest.mark.parametrize(("time_limit", "expected"), [(None, 6), (60.0, 4)])
def test_a_session_is_ready_for_the_next_call_unless_its_time_is_limited(
    settings: RunSettings,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    time_limit: float | None,
    expected: int,
) -> None:
    at_a_time: list[int] = []

    def noting(*given: Any, concurrency: int, **options: Any) -> Any:
        at_a_time.append(concurrency)
        return recommend_many(*given, concurrency=concurrency, **options)

    monkeypatch.setattr("agentrec.app.batch.running.recommend_many", noting)
    limited = settings.model_copy(update={"limits": LimitsSettings(max_concurrency=4)})
    assert run(limited, source, tmp_path / "out", time_limit=time_limit).is_clean
    assert at_a_time == [expected]


def test_every_session_has_one_result_as_the_run_recommends(
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
    rows = results(tmp_path / "out")
    assert summary.done == len(sessions)
    assert summary.is_clean
    rankings = asyncio.run(by_the_service())
    # The live policy chooses here and there.
    assert all(ranking.hint_id for ranking in rankings)
    for row in rows:
        assert row.pop("seconds") >= 0  # type: ignore[operator]
    assert rows == [{"place": place, **told_of(ranking)} for place, ranking in enumerate(rankings)]
    for row, session in zip(rows, sessions, strict=True):
        items = row["items"]
        assert isinstance(items, list)
        assert set(items) <= set(session.candidates)
        assert len(set(items)) == len(items) == min(10, len(session.candidates))
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told == summary.model_dump(mode="json")


def told_of(ranking: Ranking) -> dict[str, object]:
    """What a row of results tells of a ranking."""
    told = ranking.model_dump(mode="json", exclude={"structured"})
    return {"items": told.pop("item_ids"), **told}


def test_the_same_again_does_nothing_and_more_rows_are_added(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = tmp_path / "sessions.jsonl", tmp_path / "out"
    written(source, sessions[:10])
    run(settings, source, out)
    first = sorted((out / "results").iterdir())
    again = run(settings, source, out)
    assert (again.done, again.attempted) == (10, 0)
    assert sorted((out / "results").iterdir()) == first
    written(source, sessions)
    more = run(settings, source, out)
    assert (more.done, more.attempted) == (len(sessions), len(sessions) - 10)
    assert [row["session_id"] for row in results(out)] == [one.session_id for one in sessions]


def test_another_file_of_sessions_is_another_batch(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = tmp_path / "sessions.jsonl", tmp_path / "out"
    run(settings, written(source, sessions[:5]), out)
    with pytest.raises(InputError, match="is not the file that this batch was begun with"):
        run(settings, written(source, sessions[1:9]), out)
    with pytest.raises(InputError, match="is not the file"):
        run(settings, written(source, sessions[:4]), out)
    with pytest.raises(InputError, match="holds a batch already"):
        run(settings, written(source, sessions[:5]), out, resume=False)
    assert len(results(out)) == 5


def test_another_run_is_another_batch(
    hinting: Path, settings_for: Settings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = written(tmp_path / "sessions.jsonl", sessions[:5]), tmp_path / "out"
    settings, live = settings_for(hinting), RunFolder(hinting).live
    run(settings, source, out)
    before = results(out)
    with pytest.raises(InputError, match="holds a run with seed 0, not 5"):
        run(settings.model_copy(update={"seed": 5}), source, out)
    policy = (live / "policy.json").read_bytes()
    NoHintPolicy().save(live)
    with pytest.raises(InputError, match="the run's policy changed since this batch was begun"):
        run(settings, source, out)
    (live / "policy.json").write_bytes(policy)
    assert run(settings, source, out).attempted == 0
    added = CliRunner().invoke(app, ["kb", "add", "Prefer what is old.", "--base", str(hinting)])
    assert added.exit_code == 0, added.output
    with pytest.raises(InputError, match="the run's hints changed since this batch was begun"):
        run(settings, source, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["identity"]["seed"] = 5
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"holds a run with seed 5, not 0; .* --out"):
        run(settings, source, out)
    assert results(out) == before


def test_bad_rows_are_told_of_and_the_others_done(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    again = sessions[2].model_dump_json(exclude={"target"}, exclude_none=True)
    unknown = sessions[0].model_copy(update={"session_id": "x", "items": ("nothing",)})
    bad = ["{", '{"session_id": "y"}', again, unknown.model_dump_json(exclude_none=True)]
    source = written(tmp_path / "sessions.jsonl", sessions[:6], *bad)
    out = tmp_path / "out"
    for _ in range(2):
        summary = run(settings, source, out)
        assert summary.done == 6
        reasons = ("not_json", "missing_field", "duplicate_id", "unknown_item")
        assert summary.rejected == dict.fromkeys(reasons, 1)
    lines = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert [(line["place"], line["reason"]) for line in lines] == list(enumerate(reasons, 6))
    assert all(line["problem"] for line in lines)
    assert lines[2]["session_id"] == sessions[2].session_id
    assert len(results(out)) == 6


def test_parquet_comes_out_as_columns(
    settings: RunSettings, source: Path, sessions: list[Session], tmp_path: Path
) -> None:
    run(settings, source, tmp_path / "out", form="parquet")
    table = pq.read_table(tmp_path / "out" / "results")
    assert table.column("session_id").to_pylist() == [one.session_id for one in sessions]
    assert all(len(items) for items in table.column("items").to_pylist())


def test_failures_are_told_and_tried_again_when_wanted(
    settings: RunSettings,
    source: Path,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agentrec.embedded_model.chat_model import CatalogChatModel

    answer, failing = CatalogChatModel._agenerate, {"count": 0}

    async def failing_now_and_then(self, messages, *given, **options):  # type: ignore[no-untyped-def]
        failing["count"] += 1
        if failing["count"] % 4 == 0:
            raise ModelCallError("the endpoint refuses", kind="refused")
        return await answer(self, messages, *given, **options)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(CatalogChatModel, "_agenerate", failing_now_and_then)
        summary = run(settings, source, out)
    assert summary.failed["refused"] > 0
    assert summary.done + sum(summary.failed.values()) == len(sessions)
    lines = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {line["problem"] for line in lines} == {"the endpoint refuses"}
    # Without being told to, what failed is left alone.
    assert run(settings, source, out).attempted == 0
    retried = run(settings, source, out, retry_failed=True)
    assert retried.is_clean
    assert retried.attempted == len(lines)
    assert not (out / "failures.jsonl").exists()
    ids = [row["session_id"] for row in results(out)]
    assert sorted(ids, key=str) == sorted(one.session_id for one in sessions)


def test_a_spent_budget_stops_and_a_larger_one_goes_on(
    settings: RunSettings, source: Path, sessions: list[Session], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = run(settings, source, tmp_path / "whole")
    tokens = whole.usage.input_tokens + whole.usage.output_tokens
    small = RunSettings.model_validate({**settings.model_dump(), "budget": {"tokens": tokens // 2}})
    with pytest.raises(ModelCallError) as caught:
        run(small, source, out)
    assert caught.value.kind == "budget_spent"
    some = results(out)
    assert 0 < len(some) < len(sessions)
    summary = run(settings, source, out)
    assert summary.is_clean
    assert summary.usage.calls == whole.usage.calls
    assert len(results(out)) == len(sessions)


def test_whoever_cancels_finds_valid_output_and_goes_on(
    settings: RunSettings,
    source: Path,
    sessions: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agentrec.embedded_model.chat_model import CatalogChatModel

    out, asked, answer = tmp_path / "out", 0, CatalogChatModel._agenerate
    half = asyncio.Event()
    settings = settings.model_copy(update={"limits": LimitsSettings(max_concurrency=2)})

    async def told_of(self, messages, *given, **options):  # type: ignore[no-untyped-def]
        nonlocal asked
        asked += 1
        if asked == len(sessions) // 2:
            half.set()
        return await answer(self, messages, *given, **options)

    monkeypatch.setattr(CatalogChatModel, "_agenerate", told_of)

    async def stopped() -> None:
        options = BatchOptions(sessions=source, out=out, form="jsonl")
        task = asyncio.create_task(run_batch(settings, options, quiet()))
        await half.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    some = results(out)
    assert 0 < len({row["session_id"] for row in some}) == len(some) < len(sessions)
    assert run(settings, source, out).is_clean
    # But for the two that were on their way.
    assert len(sessions) <= asked <= len(sessions) + 2
    ids = [row["session_id"] for row in results(out)]
    assert sorted(ids, key=str) == sorted(one.session_id for one in sessions)


def test_the_command_tells_what_it_did_and_ends_with_the_right_code(
    finished: FinishedRun, sessions: list[Session], tmp_path: Path
) -> None:
    source = written(tmp_path / "sessions.jsonl", sessions[:4])
    out = tmp_path / "out"
    given = ["batch", str(source), "--out", str(out), "--run", str(finished.folder)]
    runner = CliRunner()
    planned = runner.invoke(app, [*given, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "Nothing was asked" in planned.output
    assert not out.exists()
    done = runner.invoke(app, [*given, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["done"] == 4
    written(source, sessions[:4], "{")
    incomplete = runner.invoke(app, given)
    assert incomplete.exit_code == 3, incomplete.output
    assert "Rows that are no sessions: 1 not_json" in incomplete.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--run", "nowhere"], "there is no run here"),
        (["--format", "xml"], "'xml' is neither parquet nor jsonl"),
        (["--time-limit", "0"], "is above 0"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], told: str, source: Path, finished: FinishedRun, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ["batch", str(source), "--out", str(out), "--run", str(finished.folder), *arguments]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_a_file_that_is_none_leaves_nothing_behind(settings: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        run(settings, tmp_path / "no.jsonl", tmp_path / "out")
