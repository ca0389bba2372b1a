"""What the documents say is what the program does."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

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
    # Programs on data sets name files of the reader's; the others run as they stand.
    if name in {"README.md", "knowledge-base.md", "language-models.md", "observability.md"}:
        exec(compiled, {})


def test_the_gateway_alone_does_what_the_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (code for name, code in fences("python") if "def ask_all" in code)
    program: dict[str, Any] = {}
    exec(code, program)
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    with OpenAIServer(ScriptedChatModel(["one", "two"])) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        for _ in range(2):
            asked = program["ask_all"]("openai:gpt-4o-mini", ["a", "b", "a"], tmp_path / "calls")
            first, second, third = asyncio.run(asked)
            assert {first, second} == {"one", "two"}
            assert third == first
        assert server.requests == 2
    assert "money=" in capsys.readouterr().out


@pytest.mark.parametrize("settings", [text for _, text in fences("toml")])
def test_settings_in_documents_are_settings(settings: str, tmp_path: Path) -> None:
    file = tmp_path / "agentrec.toml"
    for text in (settings, re.sub(r"^# (?=\w+ = )", "", settings, flags=re.MULTILINE)):
        file.write_text(text)
        assert load_settings({}, file)[0] != RunSettings()


def test_there_is_python_to_run() -> None:
    assert fences("python")


GROUPS = {"data", "dpo", "kb", "lm", "policy", "prefer", "rewardmodel"}


def test_options_in_documents_exist() -> None:
    commands = [
        line
        for _, text in fences("sh")
        for line in map(str.strip, text.splitlines())
        if line.startswith(".venv/bin/agentrec ")
    ]
    assert commands
    for line in commands:
        words = line.split("#")[0].split()[1:]
        path = []
        for word in words:
            if word.startswith("-") or len(path) == (2 if words[0] in GROUPS else 1):
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
