"""`agentrec lm`: teach, examine and talk with a model of one's own catalogue."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.embedded_model.folder import load_model
from agentrec.testing.planted_sessions import PlantedSessions

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "200")

    def lm(*arguments: object, typed: str = "") -> Result:
        return CliRunner().invoke(app, ["lm", *map(str, arguments)], input=typed)

    return lm


@pytest.fixture
def model(call: Call, planted: PlantedSessions, tmp_path: Path) -> Path:
    out = tmp_path / "models" / "mine"
    result = call("train", out, f"--data={planted.folder}", "--embeddings=hashed", "--steps=12")
    assert result.exit_code == 0, result.output
    assert f"lm chat {out}" in " ".join(result.stdout.split())
    return out


def test_a_model_is_taught_and_its_card_tells_of_it(model: Path) -> None:
    assert load_model(model).vocabulary.labels
    card = (model / "README.md").read_text()
    assert "rule-distilled stand-in" in card
    assert "| hint | the model | the rule |" in card


def test_what_is_there_is_left_alone(call: Call, planted: PlantedSessions, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    result = call("train", out, f"--data={planted.folder}", "--embeddings=hashed", "--steps=2")
    assert result.exit_code == 2
    assert str(out) in result.stderr
    assert [file.name for file in out.iterdir()] == ["mine.txt"]


def test_the_report_holds_the_rule_and_text_similarity(
    call: Call, model: Path, planted: PlantedSessions
) -> None:
    options = (f"--data={planted.folder}", "--embeddings=hashed")
    printed = call("eval", model, *options, "--split=test", "--json")
    assert printed.exit_code == 0, printed.output
    report = json.loads(printed.stdout)
    assert set(report["metrics"]["methods"]) == {"random", "text_similarity", "rule", "no_hint"}
    assert report["metrics"]["sessions"] == 80
    assert 0 <= report["examination"]["candidate_first"] <= 1
    for_people = call("eval", model, *options)
    assert for_people.exit_code == 0, for_people.output
    assert "no_hint - rule" in for_people.stdout
    assert "16 valid sessions" in for_people.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "nowhere"], "nowhere"),
        (["chat", "nowhere"], "nowhere"),
        (["eval", "{model}", "--split=tset"], "tset"),
    ],
)
def test_mistakes_are_one_line(call: Call, model: Path, arguments: list[str], message: str) -> None:
    result = call(*(argument.format(model=model) for argument in arguments))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_a_model_of_another_catalogue_is_not_examined(
    call: Call, model: Path, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    items = [json.dumps({"item_id": f"i{n}", "title": f"Film {n}"}) for n in range(8)]
    sessions = [
        json.dumps(
            {
                "session_id": f"s{n}",
                "items": ["i0", "i1"],
                "target": "i2",
                "candidates": ["i2", "i3", "i4"],
            }
        )
        for n in range(10)
    ]
    (shop / "items.jsonl").write_text("\n".join(items))
    (shop / "sessions.train.jsonl").write_text("\n".join(sessions))
    result = call("eval", model, f"--data={shop}", "--embeddings=hashed")
    assert result.exit_code == 2
    assert "another catalogue" in result.stderr


def test_a_conversation_from_a_pipe(call: Call, model: Path) -> None:
    first, second = load_model(model).vocabulary.labels[:2]
    lines = [
        first,
        "/hint prefer something",
        second.upper(),
        "/preference",
        "/question",
        "zzzz no such thing",
        "/nonsense",
        "/forget",
        "/quit",
        "never read",
    ]
    result = call("chat", model, typed="\n".join(lines) + "\n")
    assert result.exit_code == 0, result.output
    assert f"+ {first}" in result.stdout
    assert f"+ {second}" in result.stdout
    assert result.stdout.count("\n1. C") == 2
    assert result.stdout.count("\n10. C") == 2
    assert "no item is called so" in result.stdout
    assert "no such command: /nonsense" in result.stdout
    assert "forgotten" in result.stdout
    assert "never read" not in result.stdout


def test_ctrl_c_at_the_prompt_ends_it_at_once(model: Path) -> None:
    """On a terminal, where the process waits for a line that never comes."""
    ours, theirs = pty.openpty()
    code = "from agentrec.app.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "lm", "chat", str(model)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        shown = b""
        while not shown.endswith(b"\n> "):
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, shown
            shown += piece
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stderr.split()[-1] == b"Bye."
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
