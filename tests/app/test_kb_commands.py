"""`agentrec kb`: look at a knowledge base and change it, from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app.small_knowledge_base import COMEDY, OLD, PAST, fill, kb

from agentrec.session_encoding.embeddings import HashedWordEmbeddings


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    asyncio.run(fill(folder, "", "hashed"))
    return folder


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ask(base: Path) -> Callable[..., Any]:
    """A command about the base, answered as JSON."""

    def asked(*arguments: object) -> Any:
        result = kb(*arguments, "--base", base, "--json")
        assert result.exit_code == 0, result.output
        assert result.stdout.isascii()
        assert result.stderr == ""
        return json.loads(result.stdout)

    return asked


def texts(answer: dict[str, Any], name: str = "hints") -> list[str]:
    return [hint["text"] for hint in answer[name]]


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {hint["text"]: hint["state"] for hint in answer["hints"]}


def test_the_list_fits_and_shows_texts_as_they_are(base: Path) -> None:
    result = kb("list", "--base", base)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "[bold]old[/bold]" in result.stdout
    assert "\x1b" not in result.stdout
    row = next(line for line in result.stdout.splitlines() if OLD.hint_id[:8] in line)
    assert row.split()[1:5] == ["admitted", "+0.125", "(-0.044)", "2/1/1"]
    only = kb("list", "--base", base, "--state", "nominated").stdout
    assert PAST.text in only
    assert COMEDY.text not in only
    assert "gain" not in only


def test_a_hint_is_shown_with_all_that_is_known(base: Path) -> None:
    shown = kb("show", OLD.hint_id[:6].upper(), "--base", base).stdout
    assert "4 other sessions, lower bound -0.0" in " ".join(shown.split())
    assert "2 better, 1 the same, 1 worse" in shown
    assert "u9 [31m" in shown
    assert "[red]demo" in shown
    assert "It looked at genres." in shown
    assert "\x1b" not in shown
    assert "learnt" in shown


def test_json_says_all_of_it(ask: Callable[..., Any]) -> None:
    answer = ask("list")
    assert [hint["hint_id"] for hint in answer["hints"]] == [
        hint.hint_id for hint in (OLD, PAST, COMEDY)
    ]
    assert answer["hints"][0]["provenance"]["session_id"] == "u9\x1b[31m"
    assert ask("show", OLD.hint_id)["hint"] == answer["hints"][0]
    [revision] = ask("show", OLD.hint_id)["revisions"]
    assert (revision["number"], revision["note"]) == (1, "learnt")
    found = ask("search", "comedies", "--limit", 1)["hints"]
    assert [hint["text"] for hint in found] == [COMEDY.text]
    assert found[0]["similarity"] > 0.4


def test_a_life_of_changes_and_back(ask: Callable[..., Any]) -> None:
    assert ask("add", "Prefer long films.", "--reason", "we\nlike them")["added"]
    assert not ask("add", "prefer LONG films.", "--state", "retired")["added"]
    assert ask("retire", COMEDY.hint_id[:5], "--reason", "vague")["revision"] == 3
    assert ask("retire", COMEDY.hint_id[:5])["revision"] is None
    assert states(ask("admit", PAST.hint_id, COMEDY.hint_id)) == {
        PAST.text: "admitted",
        COMEDY.text: "admitted",
    }
    merged = ask("merge", OLD.hint_id, PAST.hint_id, "--reason", "the same")
    assert states(merged) == {OLD.text: "admitted", PAST.text: "retired"}
    assert merged["hints"][1]["merged_into"] == OLD.hint_id
    edited = ask("edit", OLD.hint_id, "Prefer films from before 1960.")
    assert states(edited) == {OLD.text: "retired", "Prefer films from before 1960.": "admitted"}
    assert edited["revision"] == 7
    assert len(ask("show", PAST.hint_id)["lineage"]) == 3
    notes = [revision["note"] for revision in ask("revisions")["revisions"]]
    assert notes[:3] == ["learnt", "added by a person", "retired: vague"]
    changes = ask("diff", 1)
    assert texts(changes, "added") == ["Prefer long films.", "Prefer films from before 1960."]
    assert [each["after"]["text"] for each in changes["retired"]] == [OLD.text, PAST.text]
    fields = [each["fields"] for each in ask("diff", 3, 4)["changed"]]
    assert fields == [["state"], ["state", "reason"]]
    assert ask("rollback", 1)["revision"] == 8
    assert texts(ask("list", "--state", "admitted")) == [OLD.text, COMEDY.text]


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "comedies"],
        ["revisions"],
        ["diff", "0"],
        ["add", "Prefer long films."],
        ["retire", COMEDY.hint_id],
        ["edit", OLD.hint_id, "Prefer [blink]new films."],
        ["merge", COMEDY.hint_id, PAST.hint_id],
        ["rollback", "0"],
        ["export", "hints.jsonl"],
        ["reembed", "--embeddings", "hashed"],
    ],
)
def test_every_command_speaks_to_people_too(base: Path, arguments: list[str]) -> None:
    result = kb(*arguments, "--base", base)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


def test_out_and_in_again(ask: Callable[..., Any], tmp_path: Path) -> None:
    ask("retire", COMEDY.hint_id)
    file = tmp_path / "hints.jsonl"
    assert ask("export", file) == {"file": str(file), "hints": 3}
    assert ask("diff", "--file", file) == {"added": [], "missing": [], "retired": [], "changed": []}
    assert ask("import", file)["added"] == []
    there = kb("export", file, "--base", tmp_path / "base")
    assert (there.exit_code, file.stat().st_size > 0) == (2, True)
    assert "--force" in there.stderr
    assert ask("export", file, "--force", "--vectors", "--state", "retired")["hints"] == 1
    assert len(json.loads(file.read_text("utf-8"))["vector"]) == 256
    new = ("--base", tmp_path / "new", "--namespace", "shop", "--json")
    for refused in (
        kb("import", file, *new),
        kb("import", file, *new, "--embeddings", "hashed"),
    ):
        assert refused.exit_code == 2
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
    taken = kb("import", file, *new, "--embeddings=hashed", "--take-over", "--as-nominated")
    assert len(json.loads(taken.stdout)["added"]) == 1
    [hint] = json.loads(kb("list", *new).stdout)["hints"]
    assert (hint["namespace"], hint["state"]) == ("shop", "nominated")


def test_a_file_that_is_no_use_makes_no_knowledge_base(tmp_path: Path) -> None:
    (tmp_path / "hints.jsonl").write_text('{"text": "fine"}\n{"text": 1}\n')
    new = ("--base", tmp_path / "new", "--embeddings", "hashed")
    result = kb("import", tmp_path / "hints.jsonl", *new)
    assert result.exit_code == 2
    assert "hints.jsonl:2, field 'text'" in result.stderr
    assert not (tmp_path / "new").exists()


def test_vectors_of_another_model(
    ask: Callable[..., Any], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = kb("search", "comedies", "--base", base, "--embeddings", "minilm")
    assert wrong.exit_code == 2
    assert "kb reembed" in wrong.stderr
    monkeypatch.setattr(
        "agentrec.named_components.open_embeddings",
        lambda name: HashedWordEmbeddings({"hashed": 256, "other:short": 64}[name]),
    )
    assert ask("reembed", "--embeddings", "other:short") == {
        "hints": 3,
        "embedding": {"model": "other:short", "dimension": 64},
    }
    assert ask("search", "comedies", "--limit", 1)["hints"][0]["text"] == COMEDY.text
    assert len(ask("revisions")["revisions"]) == 2


def test_a_base_that_does_not_say_its_model_is_asked_with_one(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "unnamed", "", ""))
    place = ("--base", tmp_path / "unnamed")
    assert "--embeddings" in kb("search", "comedies", *place).stderr
    found = kb("search", "comedies", *place, "--embeddings", "hashed", "--json")
    assert json.loads(found.stdout)["hints"][0]["text"] == COMEDY.text


@pytest.mark.parametrize(
    ("vector", "told"), [([0.0] * 256, "all-zero vector"), ([1.0] * 3, "has 256")]
)
def test_vectors_that_are_no_use_are_told(
    base: Path, vector: list[float], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Useless(HashedWordEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vector for _ in texts]

    monkeypatch.setattr("agentrec.named_components.open_embeddings", lambda name: Useless(256))
    result = kb("search", "x", "--base", base)
    assert result.exit_code == 2
    assert told in result.stderr
