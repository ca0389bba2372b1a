"""A batch in parts: each worked on by itself, and together what one would have come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app.batch_runs import of_planted, results, run, written
from app.conftest import FinishedRun
from app.preference_runs import Settings

from agentrec.batch.budget_split import Spent, share_of_budget, share_of_limits
from agentrec.batch.partitions import partitions
from agentrec.errors import InputError, ModelCallError
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions


@pytest.fixture(scope="session")
def sessions(planted: PlantedSessions) -> list[Session]:
    return of_planted(planted)


@pytest.fixture
def settings(finished: FinishedRun, settings_for: Settings) -> RunSettings:
    return settings_for(finished.folder)


def told(out: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def timeless(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows in the order of the input, but for what another run takes another time for."""
    kept = [{name: row[name] for name in row if name != "seconds"} for row in rows]
    return sorted(kept, key=lambda row: int(str(row["place"])))


def test_parts_come_to_what_the_whole_does(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    again = sessions[2].model_dump_json(exclude={"target"}, exclude_none=True)
    source = written(tmp_path / "sessions.jsonl", sessions, "{", '{"session_id": "y"}', again)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    one, three = run(settings, source, whole), run(settings, source, parts, partitions=3)
    assert (three.done, three.rejected) == (one.done, one.rejected)
    assert one.rejected["duplicate_id"] == 1
    assert timeless(results(parts)) == timeless(results(whole))
    assert told(parts, "rejected.jsonl") == told(whole, "rejected.jsonl")
    # Each asks on its own whether the model can fit a schema; else they share nothing.
    assert one.usage.calls <= three.usage.calls <= one.usage.calls + 2
    assert {file.name[:9] for file in parts.glob("results/*")} == {
        f"part-{number:03d}-"[:9] for number in range(3)
    }
    # The same again has nothing to do, however many parts are named or not.
    again_summary = run(settings, source, parts)
    assert (again_summary.done, again_summary.attempted) == (one.done, 0)
    with pytest.raises(InputError, match="was begun in 3"):
        run(settings, source, parts, partitions=2)


def test_parts_share_a_budget_to_its_end(
    settings: RunSettings, sessions: list[Session], tmp_path: Path
) -> None:
    source, out = written(tmp_path / "sessions.jsonl", sessions), tmp_path / "out"
    cost = run(settings, source, tmp_path / "free").usage
    tokens = cost.input_tokens + cost.output_tokens
    one_call = tokens / len(sessions)

    def limited(most: int) -> RunSettings:
        budget = settings.budget.model_copy(update={"tokens": most})
        return settings.model_copy(update={"budget": budget})

    with pytest.raises(ModelCallError, match=r"the budget of \d+ tokens is spent") as caught:
        run(limited(tokens // 2), source, out, partitions=3)
    assert caught.value.kind == "budget_spent"
    summary = json.loads((out / "summary.json").read_text())
    spent = summary["usage"]["input_tokens"] + summary["usage"]["output_tokens"]
    # Estimates before a call differ from what it came to; no part is left with more than that.
    assert tokens / 2 - 8 * one_call < spent <= tokens / 2 + 3 * one_call
    assert 0 < summary["done"] < len(sessions)
    # Enough for all, though the parts are not of a size: what one does not need another gets.
    rest = run(limited(round(1.1 * tokens)), source, out)
    assert rest.done == len(sessions)
    assert len(results(out)) == len(sessions)


def test_limits_are_divided(settings: RunSettings) -> None:
    limits = settings.limits.model_copy(
        update={"max_concurrency": 64, "requests_per_minute": 600.0, "tokens_per_minute": 9000.0}
    )
    shared = share_of_limits(settings.model_copy(update={"limits": limits}), 3).limits
    assert shared.max_concurrency == 21
    assert shared.requests_per_minute == pytest.approx(200.0)
    assert shared.tokens_per_minute == pytest.approx(3000.0)
    with pytest.raises(InputError, match="65 workers cannot share 64 calls"):
        share_of_limits(settings.model_copy(update={"limits": limits}), 65)


def test_what_is_left_of_a_budget_is_divided(settings: RunSettings) -> None:
    budget = settings.budget.model_copy(update={"tokens": 1000, "money": 2.0})
    settings = settings.model_copy(update={"budget": budget})
    first, second, third = partitions(3)
    spent = {first: Spent(100, 0.5), second: Spent(300, 0.5), third: Spent(200, 0.0)}
    shares = [share_of_budget(settings, one, spent, [second, third]) for one in (second, third)]
    # 400 tokens and 1.0 are left for two.
    assert [share.budget.tokens for share in shares] == [500, 400]
    assert [share.budget.money for share in shares] == [pytest.approx(1.0), pytest.approx(0.5)]
