"""`agentrec kb`: which knowledge base is meant, and what is said where something is wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from app.small_knowledge_base import COMEDY, OLD, PAST, fill, kb
from testing.qdrant_http_front import qdrant_http_front

from agentrec.hints import Hint
from agentrec.stores.hints.opening import open_hint_store


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    asyncio.run(fill(folder, "", "hashed"))
    return folder


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def test_a_run_folder_or_the_default_run_is_accepted(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "runs" / "demo" / "knowledge-base", "", "hashed"))
    for location in ((), ("--base", "runs/demo"), ("--base", "runs/demo/knowledge-base")):
        assert COMEDY.text in kb("list", *location).stdout


def test_namespaces_are_kept_apart(base: Path) -> None:
    asyncio.run(fill(base, "shop", "hashed"))
    which = kb("list", "--base", base)
    assert which.exit_code == 2
    assert "'', 'shop'" in which.stderr
    for namespace in ("", "shop"):
        result = kb("list", "--base", base, "--namespace", namespace, "--json")
        hints = json.loads(result.stdout)["hints"]
        assert {hint["namespace"] for hint in hints} == {namespace}
    assert "no namespace 'shup'" in kb("list", "--base", base, "--namespace", "shup").stderr


def test_an_empty_knowledge_base_is_reported_as_such(tmp_path: Path) -> None:
    async def make() -> None:
        await (await open_hint_store(tmp_path / "empty", 256)).aclose()

    asyncio.run(make())
    location = ("--base", tmp_path / "empty")
    for command in ("list", "revisions"):
        result = kb(command, *location)
        assert result.exit_code == 0
        said = " ".join(result.stdout.split())
        assert said.startswith(str(tmp_path / "empty"))
        assert said.endswith(" yet.")
    assert json.loads(kb("list", *location, "--json").stdout) == {"hints": []}
    assert "nothing to export" in kb("export", "hints.jsonl", *location).stderr
    assert "no hint 'a'" in kb("show", "a", *location).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list"], 2, "--base FOLDER"),
        (["list", "--base", "nowhere"], 2, "nowhere"),
        (["list", "--base", "{base}/hints.sqlite"], 1, "is a file"),
        (["list", "--base", "{base}", "--state", "best"], 2, "'best'"),
        (["list", "--base", "{base}", "--namespace", "a b"], 2, "'a b'"),
        (["list", "--base", "{base}", "--url", "http://127.0.0.1:9"], 2, "not both"),
        (["list", "--url", "http://me:secret@127.0.0.1:9"], 1, "127.0.0.1:9"),
        (["show", "xyz", "--base", "{base}"], 2, "'xyz'"),
        (["show", "", "--base", "{base}"], 2, "no hint ''"),
        (["search", " ", "--base", "{base}"], 2, "empty"),
        (["search", "x", "--base", "{base}", "--embeddings", "nonsense"], 2, "nonsense"),
        (["add", "...", "--base", "{base}"], 2, "no letter or digit"),
        (["add", "Prefer x.", "--base", "{base}", "--state", "all"], 2, "one state"),
        (["add", "Prefer x.", "--base", "nowhere"], 2, "to create one, name --embeddings"),
        (["edit", COMEDY.hint_id, PAST.text, "--base", "{base}"], 2, "says that already"),
        (["merge", COMEDY.hint_id, COMEDY.hint_id[:9], "--base", "{base}"], 2, "with itself"),
        (["diff", "--base", "{base}"], 2, "--file"),
        (["diff", "7", "--base", "{base}"], 1, "revision 7"),
        (["rollback", "7", "--base", "{base}"], 1, "revision 7"),
        (["import", "none.jsonl", "--base", "{base}"], 2, "none.jsonl: is missing"),
        (["reembed", "--embeddings", "hashed", "--base", "nowhere"], 2, "nowhere"),
        (["reembed", "--embeddings", "hashed", "--url", "http://127.0.0.1:9"], 2, "folder"),
    ],
)
def test_an_error_is_one_line(
    base: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = kb(*(argument.format(base=base) for argument in arguments), "--json")
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert "secret" not in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["base"]


def test_an_ambiguous_id_prefix_is_refused(base: Path) -> None:
    by_first = sorted((OLD, PAST, COMEDY), key=lambda hint: hint.hint_id)
    number = 0
    while True:
        more = Hint(text=f"Prefer kind {number}.")
        if more.hint_id[0] == by_first[0].hint_id[0]:
            break
        number += 1
    kb("add", more.text, "--base", base)
    result = kb("retire", more.hint_id[0], "--base", base)
    assert result.exit_code == 2
    assert more.hint_id in result.stderr
    assert by_first[0].hint_id in result.stderr


def test_a_base_is_read_and_changed_beside_a_process_that_has_it_open(base: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from agentrec.stores.hints.opening import open_hint_store\n"
        "async def hold():\n"
        "    store = await open_hint_store(sys.argv[1], 256)\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(len(await store.all()), flush=True)\n"
        "asyncio.run(hold())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert kb("list", "--base", base).exit_code == 0
        assert kb("add", "Prefer new films.", "--base", base).exit_code == 0
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "3\n"


def test_a_server_is_used_like_a_folder() -> None:
    with qdrant_http_front() as front:
        location = ("--url", front.url)
        assert "there is no knowledge base" in kb("list", *location).stderr
        shop = (*location, "--namespace", "shop", "--embeddings", "hashed")
        assert kb("add", COMEDY.text, *shop).exit_code == 0
        assert kb("add", PAST.text, *location).exit_code == 0
        [first, second] = json.loads(kb("list", *location, "--json").stdout)["hints"]
        assert (first["text"], second["namespace"]) == (COMEDY.text, "shop")
        assert kb("retire", first["hint_id"], *location).exit_code == 0
        assert "retired" in kb("diff", 2, *location).stdout
        assert "no namespace 'shup'" in kb("list", *location, "--namespace", "shup").stderr
