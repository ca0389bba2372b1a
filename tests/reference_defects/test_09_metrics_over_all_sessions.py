"""09: no metric is computed; the script stops at session 100; candidates name unknown ids."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.messages import BaseMessage
from testing.answering import (
    WRONG,
    blocks_of,
    make_catalog,
    make_components,
    make_session,
    ranking_with,
)

from agentrec.app.learning.closed_loop import policy_rankings, target_ranks
from agentrec.data import load_folder
from agentrec.errors import InputError
from agentrec.evaluation.metrics import METRICS
from agentrec.evaluation.report import build_report
from agentrec.testing.scripted_chat_model import ScriptedChatModel

COUNT = 110
POSITIONS: tuple[int | str, ...] = (1, 3, 10, WRONG)


def test_09_metrics_are_what_a_hand_computes() -> None:
    report = build_report({"own": [1, 3, 10, 11, None]}, [], {}, 0, resamples=10)
    row = report.methods["own"]
    assert set(row) == set(METRICS) == {"ndcg@10", "hr@10", "mrr"}
    assert row["hr@10"].mean == pytest.approx(3 / 5)
    assert row["ndcg@10"].mean == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 5)
    assert row["mrr"].mean == pytest.approx((1 + 1 / 3 + 1 / 10) / 5)


async def test_09_more_than_a_hundred_sessions_are_evaluated_whatever_is_answered() -> None:
    labels = make_catalog().labels
    sessions = [make_session(n % 20, session_id=f"s{n}") for n in range(COUNT)]
    target_of = {labels[session.items[-1]]: labels[session.target or ""] for session in sessions}

    def answer(messages: Sequence[BaseMessage]) -> str:
        last = blocks_of(messages)["history"].splitlines()[-1].removeprefix("2. ")
        position = POSITIONS[int(labels_of(last)) % len(POSITIONS)]
        return ranking_with(messages, target_of[last], position)

    def labels_of(label: str) -> str:
        return next(item_id for item_id, own in labels.items() if own == label).removeprefix("i")

    # The hundredth answer, and the request for another one, are nothing that can be read.
    unreadable = ["I would rather not."] * 2
    model = ScriptedChatModel([*[answer] * 99, *unreadable, *[answer] * (COUNT - 100)])
    rankings = await policy_rankings(sessions, make_components(model), 1, lambda: None)
    model.assert_exhausted()
    assert len(rankings) == COUNT
    assert rankings[99].backfilled == len(rankings[99].item_ids) == 10
    ranks = target_ranks(sessions, rankings)
    expected = [POSITIONS[int(session.items[-1].removeprefix("i")) % 4] for session in sessions]
    others = [rank for number, rank in enumerate(ranks) if number != 99]
    assert others == [p if isinstance(p, int) else None for p in expected[:99] + expected[100:]]
    report = build_report({"own": ranks}, [], {}, 0, resamples=10)
    assert report.sessions == COUNT
    hits = [rank is not None for rank in ranks]
    assert report.methods["own"]["hr@10"].mean == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("field", ["items", "target", "candidates"])
def test_09_an_unknown_id_is_named_with_its_place(field: str, tmp_path: Path) -> None:
    session: dict[str, object] = {
        "session_id": "s2",
        "items": ["a", "b"],
        "target": "c",
        "candidates": ["c", "d"],
    }
    sessions = [{**session, "session_id": "s1"}, session | {field: _with_unknown(session[field])}]
    _write(tmp_path / "items.jsonl", [{"item_id": i, "title": f"Title {i}"} for i in "abcd"])
    _write(tmp_path / "sessions.train.jsonl", sessions)
    with pytest.raises(InputError, match="'ghost' is not an item_id") as caught:
        load_folder(tmp_path)
    location = (caught.value.file, caught.value.line, caught.value.field)
    assert location == (tmp_path / "sessions.train.jsonl", 2, field)


def _with_unknown(value: object) -> object:
    return [*value, "ghost"] if isinstance(value, list) else "ghost"


def _write(file: Path, rows: Sequence[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
