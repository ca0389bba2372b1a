"""Runs with a model that costs money: what they may cost, what they did, and what they would."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from langchain_core.messages import BaseMessage
from testing.answering import blocks_of, candidates_of, ranking_with, task_of
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.data import load_folder
from agentrec.llm.prompts.session_view import SessionView
from agentrec.testing.faulty_server import FaultPlan, FaultyServer
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.planted_sessions import PlantedSessions, write_planted_sessions
from agentrec.testing.scripted_chat_model import ScriptedChatModel

CALLS = 20_000
TESTED = 16
SETTINGS = """
data = "{data}"
run = "run"
embeddings = "hashed"
max_hints = 3
max_explored = 12
max_rewarded = 20
num_probes = 8
backbone = "none"
[llm]
name = "openai:local"
base_url = "{url}"
{llm}
[limits]
max_concurrency = 8
[retries]
first_wait = 0.01
[prices]
currency = "EUR"
models.local = {{ input = 10, output = 20 }}
[policy.settings]
iterations = 3
"""

Answer = Callable[[Sequence[BaseMessage]], str]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedSessions:
    """A smaller world than the others': every call goes over a socket, in every test anew."""
    folder = tmp_path_factory.mktemp("world") / "planted"
    return write_planted_sessions(folder, num_items=60, num_train=24, num_valid=8, num_test=TESTED)


@pytest.fixture(scope="module")
def answer(planted: PlantedSessions) -> Answer:
    """Finds the target if given a hint; proposes hints that differ from session to session."""
    dataset = load_folder(planted.folder)
    labels, targets = dataset.catalog.labels, {}
    for _, sessions in dataset.splits():
        for session in sessions:
            shown = SessionView.of(session, dataset.catalog).history_block
            targets[re.sub(r"</?history>", "", shown).strip()] = labels[session.target or ""]

    def answered(messages: Sequence[BaseMessage]) -> str:
        if "<history>" not in messages[-1].text:
            return "Yes."
        history = blocks_of(messages)["history"]
        task = task_of(messages)
        if task == "rank":
            target = targets[history]
            places = [label for _, label in candidates_of(messages)]
            hinted = "hint" in blocks_of(messages)
            return ranking_with(messages, target, 1 if hinted or places[0] == target else "none")
        if task == "hints":
            return f"1. Prefer {'x' * (1 + len(history) % 7)} things.\n2. Avoid long stories."
        return f"A {task} of it."

    return answered


@pytest.fixture
def server(answer: Answer) -> Iterator[OpenAIServer]:
    with OpenAIServer(ScriptedChatModel([answer] * CALLS)) as server:
        yield server


Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, planted: PlantedSessions, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hush-hush-1234")
    monkeypatch.setenv("COLUMNS", "150")

    def called(server: OpenAIServer, *options: str, llm: str = "") -> Result:
        file = tmp_path / "settings.toml"
        file.write_text(SETTINGS.format(data=planted.folder, url=server.base_url, llm=llm))
        return CliRunner().invoke(app, ["demo", f"--config={file}", *options])

    return called


def usage_of(folder: Path) -> dict[str, dict[str, float]]:
    told = json.loads((folder / "usage.json").read_text())
    assert told["currency"] == "EUR"
    return {**told["by_node"], "total": told["total"]}


def prompts(server: OpenAIServer) -> list[str]:
    return [str([(m.type, m.text) for m in asked]) for asked in server.asked]


@pytest.mark.parametrize(
    ("option", "unit"), [("--limit-tokens", "tokens"), ("--limit-cost", "EUR")]
)
def test_a_spent_budget_stops_the_run_and_a_higher_one_goes_on(
    option: str, unit: str, server: OpenAIServer, call: Call, tmp_path: Path
) -> None:
    limit = 40_000 if unit == "tokens" else 0.5
    stopped = call(server, f"{option}={limit}")
    assert stopped.exit_code == 1, stopped.output
    assert stopped.stderr.startswith("Stopped: the budget of ")
    assert stopped.stderr.count("\n") == 1
    for told in (unit, "is spent", "are paid", "raise the budget and run again"):
        assert told in stopped.stderr
    assert "Calls to the model" in stopped.stdout
    paid = usage_of(tmp_path / "run")["total"]
    spent = paid["money"] if unit == "EUR" else paid["input_tokens"] + paid["output_tokens"]
    assert 0.8 * limit < spent < 1.1 * limit
    before = server.requests
    again = call(server, f"{option}={limit}")
    assert again.exit_code == 1
    # What is left may do for a shorter prompt than the one that did not fit.
    assert server.requests <= before + 8
    done = call(server, f"{option}={limit * 100}")
    assert done.exit_code == 0, done.output
    assert len(set(prompts(server))) == server.requests
    total = usage_of(tmp_path / "run")["total"]
    assert (total["calls"], total["failures"], total["retries"]) == (server.requests, 0, 0)
    assert total["money"] == pytest.approx(
        (10 * total["input_tokens"] + 20 * total["output_tokens"]) / 1e6
    )


def test_what_was_paid_is_shown_by_what_it_was_for(
    answer: Answer, call: Call, tmp_path: Path
) -> None:
    plan = FaultPlan(share=0.1, seed=1, kinds=("server_error",))
    with FaultyServer(ScriptedChatModel([answer] * CALLS), plan) as server:
        result = call(server, llm="structured = 'never'")
        assert result.exit_code == 0, result.output
        faults = sum(server.faults.values())
        requests = server.requests
    usage = usage_of(tmp_path / "run")
    assert set(usage) >= {"recommend", "critique", "diagnose", "hints"}
    assert usage["total"]["calls"] == requests
    assert usage["total"]["failures"] == usage["total"]["retries"] == faults > 0
    for row in usage.values():
        assert f"{row['calls']:,}" in result.stdout
        assert f"{row['money']:,.4f}" in result.stdout


def test_answers_are_reported(server: OpenAIServer, call: Call, tmp_path: Path) -> None:
    result = call(server)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run" / "answers.json").read_text())
    assert set(told["quality"]) == set(told["position_bias"])
    assert {"no_hint", "policy"} <= set(told["quality"])
    for quality in told["quality"].values():
        assert quality["rankings"] == quality["clean"] == TESTED
    assert "Answers on test sessions" in result.stdout
    assert "100.0%" in result.stdout
    assert "target at positions 1-" in result.stdout
    again = call(server)
    assert again.exit_code == 0
    assert "nothing is computed again" in again.stdout
    for line in ("Calls to the model", "target at positions 1-"):
        assert line in again.stdout
    assert "sk-hush-hush" not in (tmp_path / "run" / "manifest.json").read_text()


def test_what_decides_answers_makes_another_run(
    server: OpenAIServer, call: Call, tmp_path: Path
) -> None:
    call(server, "--limit-tokens=2000")
    for llm, field in (
        ("temperature = 0.5", "llm"),
        ("parameters = { max_tokens = 9 }", "llm"),
        ("shuffles = 2", "shuffles"),
        ("max_candidates = 5", "max_candidates"),
        ("label_length = 9", "label_length"),
        ("structured = 'never'", "structured"),
    ):
        refused = call(server, llm=llm)
        assert refused.exit_code == 2
        assert f"field '{field}'" in refused.stderr
    # What does not is written down beside.
    assert call(server, "--limit-tokens=3000", llm="timeout = 5").exit_code == 1
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["conditions"]["budget"] == {"tokens": 2000, "money": None}
    assert manifest["conditions"]["prices"]["models"]["local"]["input"] == 10
    assert manifest["identity"]["llm"].startswith("openai:local@")


def test_a_dry_run_asks_nothing_and_leaves_nothing(
    server: OpenAIServer, call: Call, tmp_path: Path
) -> None:
    result = call(server, "--dry-run", "--limit-cost=0.01", "--requests-per-minute=60")
    assert result.exit_code == 0, result.output
    assert server.requests == 0
    assert not (tmp_path / "run").exists()
    shown = " ".join(result.stdout.split())
    for text in ("EUR", "less than this", "60 calls a minute", "Nothing was asked", "assumed"):
        assert text in shown
    assert call(server, "--limit-tokens=20000").exit_code == 1
    before = server.requests
    later = call(server, "--dry-run")
    assert server.requests == before
    shown = " ".join(later.stdout.split())
    assert re.search(r"of answers from \d+ paid answers", shown)
    assert "cost nothing again" in shown


def test_an_estimate_is_near_what_a_run_costs(
    server: OpenAIServer, call: Call, tmp_path: Path
) -> None:
    told = call(server, "--dry-run").stdout
    (line,) = [line for line in told.splitlines() if line.strip().startswith("total")]
    calls = int(line.split()[1].replace(",", ""))
    assert call(server).exit_code == 0
    made = usage_of(tmp_path / "run")["total"]["calls"]
    assert 0.5 * made < calls < 2 * made


def test_a_budget_of_money_needs_a_price_before_anything_is_paid(
    server: OpenAIServer, call: Call, tmp_path: Path, planted: PlantedSessions
) -> None:
    arguments = ["demo", f"--data={planted.folder}", f"--run={tmp_path / 'other'}"]
    arguments += ["--embeddings=hashed", "--llm=openai:local", "--limit-cost=1"]
    result = CliRunner().invoke(app, arguments, env={"OPENAI_BASE_URL": server.base_url})
    assert result.exit_code == 2
    assert "needs the price of 'openai:local@" in result.stderr
    assert server.requests == 0
