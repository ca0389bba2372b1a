"""What the documents say is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentrec.app.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[tuple[str, str]]:
    return [
        (document.name, match[2])
        for document in DOCUMENTS
        for match in FENCE.finditer(document.read_text("utf-8"))
        if match[1] == language
    ]


@pytest.mark.parametrize(("name", "code"), fences("python"))
def test_python_in_documents_runs(name: str, code: str) -> None:
    compiled = compile(code, name, "exec")
    # Programs on data sets name files of the reader's; the README's run as they stand.
    if name == "README.md":
        exec(compiled, {})


def test_there_is_python_to_run() -> None:
    assert fences("python")


def test_options_in_documents_exist() -> None:
    commands = [
        line
        for _, text in fences("sh")
        for line in text.splitlines()
        if line.startswith(".venv/bin/agentrec ")
    ]
    assert commands
    for line in commands:
        words = line.split("#")[0].split()[1:]
        path = []
        for word in words:
            if word.startswith("-") or len(path) == (2 if words[0] == "data" else 1):
                break
            path.append(word)
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.output, f"{line}: {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target
