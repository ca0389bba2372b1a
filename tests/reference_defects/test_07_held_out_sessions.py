"""07: nothing is validated: training sessions are evaluated on, and days straddle the split."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import WRONG, blocks_of, ranking_with, task_of

from agentrec.app.learning.closed_loop import ClosedLoop
from agentrec.data import Dataset, Interaction, build_sessions, load_folder, split_by_time
from agentrec.evaluation.metrics import ndcg
from agentrec.evaluation.report import MetricsReport
from agentrec.hints import Hint
from agentrec.llm.prompts.session_view import SessionView
from agentrec.named_components import NamedModel
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.runs.open_run import open_run, resolve_run
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import write_planted_sessions
from agentrec.testing.scripted_chat_model import ScriptedChatModel

DAY = 86_400


def log() -> list[Interaction]:
    """Twelve users, most of whom come back on other days, in no order."""
    draws = random.Random(5)
    rows = [
        Interaction(f"u{user}", f"i{draws.randrange(40)}", day * DAY + draws.randrange(DAY))
        for user in range(12)
        for day in draws.sample(range(30), 8)
        for _ in range(9)
    ]
    draws.shuffle(rows)
    return rows


def test_07_no_session_of_an_earlier_part_ends_after_one_of_a_later_part() -> None:
    split = split_by_time(build_sessions(log()))
    assert min(len(split.train), len(split.valid), len(split.test)) > 5
    assert max(each.end for each in split.train) <= min(each.end for each in split.valid)
    assert max(each.end for each in split.valid) <= min(each.end for each in split.test)


def test_07_what_a_user_did_on_one_day_lies_in_one_part() -> None:
    split = split_by_time(build_sessions(log()))
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    # An id names a user and a day.
    found = Counter(each.session.session_id for part in parts.values() for each in part)
    assert set(found.values()) == {1}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": len(found) - 2 * (len(found) // 10),
        "valid": len(found) // 10,
        "test": len(found) // 10,
    }


def test_07_a_session_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_planted_sessions(tmp_path, num_train=3, num_valid=1, num_test=1)
    data = load_folder(tmp_path)
    with pytest.raises(ValueError, match="'train-0' occurs twice"):
        Dataset("straddling", data.catalog, data.train, data.valid, data.train[:1])


class _Helped:
    """Answers so that hints repair training sessions and do nothing to those of the test."""

    def __init__(self, data: Dataset) -> None:
        self._labels = data.catalog.labels
        self._known: dict[str, Session] = {}
        for _, sessions in data.splits():
            for session in sessions:
                self._known[SessionView.of(session, data.catalog).history_block] = session
        self.asked: list[tuple[str, str]] = []

    def __call__(self, messages: Sequence[BaseMessage]) -> str:
        blocks = blocks_of(messages)
        if "history" not in blocks:
            return "Yes."
        session = self._known[blocks["history"]]
        task, split = task_of(messages), session.session_id.split("-")[0]
        self.asked.append((split, task))
        if task == "hints":
            return "1. Prefer what is old."
        if task != "rank":
            return f"A {task}."
        position: int | str = 1 if "hint" in blocks else WRONG
        target = self._labels[session.target or ""]
        return ranking_with(messages, target, 3 if split == "test" else position)


async def test_07_what_is_reported_is_measured_on_test_sessions_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    write_planted_sessions(
        data, num_items=40, num_candidates=12, num_train=9, num_valid=4, num_test=5
    )
    answer = _Helped(load_folder(data))
    settings = RunSettings.model_validate(
        {
            "data": data,
            "run": tmp_path / "run",
            "embeddings": "hashed",
            "num_probes": 6,
            "policy": "linucb",
        }
    )
    resolved = await resolve_run(settings)
    resolved = replace(resolved, named=NamedModel(ScriptedChatModel([answer] * 1000), "scripted"))
    resolved.folder.begin(resolved.manifest)
    async with open_run(resolved) as parts:
        await ClosedLoop(parts).run()
    report = MetricsReport.model_validate_json(resolved.folder.metrics.read_bytes())
    # The hints were learnt: what follows is not for want of any.
    (line,) = (tmp_path / "run" / "hints.jsonl").read_text("utf-8").splitlines()
    hint = Hint.model_validate_json(line)
    assert hint.provenance is not None
    assert hint.provenance.session_id.startswith("train-")
    for split in ("train", "valid"):
        table = RewardTable.load(tmp_path / "run" / f"rewards.{split}.parquet")
        assert {session_id.split("-")[0] for session_id in table.session_ids} == {split}
        assert table.gains[:, 1].tolist() == [1.0] * len(table)
    assert report.sessions == 5
    for method in ("no_hint", "best_single_hint", "policy"):
        assert report.methods[method]["ndcg@10"].mean == pytest.approx(ndcg(3))
    # A test session is ranked, with the hint and without, and nothing else is asked of it.
    assert {task for split, task in answer.asked if split == "test"} == {"rank"}
    assert Counter(split for split, _ in answer.asked)["test"] == 2 * 5
