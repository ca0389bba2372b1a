"""10: titles are identities; candidates hold a target twice or one that is in the history."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from testing.answering import make_components, make_session

from agentrec.catalog import Catalog, Item
from agentrec.data import Interaction, build_sessions, load_folder
from agentrec.graphs.recommendation.ranking import rank
from agentrec.llm.answers.parsing import parse_ranking
from agentrec.llm.prompts.session_view import SessionView
from agentrec.sessions import Session
from agentrec.testing.planted_sessions import write_planted_sessions
from agentrec.testing.scripted_chat_model import ScriptedChatModel

FOUR = Catalog(
    [
        Item(item_id="old", title="Hamlet", attributes={"year": 1948}),
        Item(item_id="new", title="Hamlet", attributes={"year": 1996}),
        Item(item_id="bare", title="Hamlet"),
        Item(item_id="bare too", title="Hamlet"),
    ]
)
HAMLETS = Session(session_id="s", items=("old",), target="new", candidates=FOUR.item_ids)


def test_10_items_of_one_title_are_shown_apart() -> None:
    view = SessionView.of(HAMLETS, FOUR)
    assert len(set(view.candidate_labels)) == len(FOUR)
    labels = dict(zip(view.candidate_ids, view.candidate_labels, strict=True))
    assert labels["old"] == "Hamlet (1948)"
    assert labels["new"] == "Hamlet (1996)"


def test_10_an_answer_counts_for_the_item_it_names_and_never_for_a_namesake() -> None:
    view = SessionView.of(HAMLETS, FOUR)
    assert parse_ranking("1. Hamlet (1996)", view).item_ids == ("new",)
    assert parse_ranking("1. Hamlet (1948)\n2. Hamlet (1996)", view).item_ids == ("old", "new")
    handle = f"C{view.candidate_ids.index('new') + 1:02d}"
    assert parse_ranking(f"1. {handle} | Hamlet", view).item_ids == ("new",)
    only_years = HAMLETS.model_copy(update={"candidates": ("old", "new")})
    ambiguous = parse_ranking("1. Hamlet", SessionView.of(only_years, FOUR))
    assert (ambiguous.item_ids, ambiguous.illegal) == ((), 1)


def test_10_a_target_listed_twice_stands_among_the_candidates_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name an item twice"):
        Session(session_id="s", items=("a",), target="b", candidates=("b", "c", "b"))
    rows: list[dict[str, object]] = [
        {"session_id": f"s{n}", "items": ["a"], "target": "b", "candidates": ["b", "c", "b", "d"]}
        for n in range(3)
    ]
    _write(tmp_path / "items.jsonl", [{"item_id": i, "title": "Same title"} for i in "abcd"])
    _write(tmp_path / "sessions.train.jsonl", rows)
    dataset = load_folder(tmp_path)
    assert dataset.train[0].candidates == ("b", "c", "d")
    assert "3 of the 3 sessions in sessions.train.jsonl repeat a candidate" in dataset.notes[0]


def test_10_drawn_candidates_hold_the_target_once_and_nothing_of_the_history(
    tmp_path: Path,
) -> None:
    write_planted_sessions(tmp_path, num_train=30, num_valid=5, num_test=5)
    for file in tmp_path.glob("sessions.*.jsonl"):
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        _write(file, [{**row, "candidates": None} for row in rows])
    dataset = load_folder(tmp_path)
    for _, sessions in dataset.splits():
        for session in sessions:
            assert Counter(session.candidates)[session.target or ""] == 1
            assert len(set(session.candidates)) == len(session.candidates) == 50
            assert not {*session.items} & {*session.candidates}


def test_10_a_target_was_not_chosen_before_in_its_session() -> None:
    log = [Interaction("u", item_id, 100 + n) for n, item_id in enumerate("abcdba")]
    (timed,) = build_sessions(log)
    assert (timed.session.items, timed.session.target) == (("a", "b", "c"), "d")


async def test_10_a_ranking_is_made_of_ids_each_once() -> None:
    session = make_session(0).model_copy(
        update={"candidates": tuple(f"i{n}" for n in range(1, 16))}
    )
    answer = "\n".join(f"{n}. Hamlet (1983)" for n in range(1, 11))
    ranking = await rank(session, None, make_components(ScriptedChatModel([answer, answer])))
    assert ranking.item_ids[0] == "i13"
    assert len(set(ranking.item_ids)) == len(ranking.item_ids) == 10
    assert {*ranking.item_ids} <= {*session.candidates}


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
