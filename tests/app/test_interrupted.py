"""A run over HTTP equals the embedded one, and no interruption changes it or costs a call."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from app.conftest import HttpRun
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.data import load_folder
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.llm.gateway.gateway import PROBE_NODE
from agentrec.llm.prompts.session_view import SessionView
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.planted_sessions import PlantedSessions

Settings = Callable[..., RunSettings]
CONCURRENCY = 8


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run over HTTP."""

    folder: Path
    asked: list[str]

    @property
    def requests(self) -> int:
        return len(self.asked)


def prompts(server: OpenAIServer) -> list[str]:
    return [str([(m.type, m.text) for m in asked]) for asked in server.asked]


def distinct(server: OpenAIServer) -> int:
    return len(set(prompts(server)))


def numbers(folder: Path) -> dict[str, object]:
    """What a run found out."""
    report = json.loads((folder / "metrics.json").read_text())
    return {name: found for name, found in report.items() if name != "llm_calls"}


def about_as_many_calls(folder: Path, other: Path) -> bool:
    """How far a hint was tried before an equal one was stored depends on who came first.

    Nor does the one call count with which a client finds out what the model is capable of.
    """
    made = []
    for each in (folder, other):
        report = json.loads((each / "metrics.json").read_text())
        made.append(report["llm_calls"]["made"] - probes(each))
    return abs(made[0] - made[1]) <= 0.05 * made[1]


def probes(folder: Path) -> int:
    usage = json.loads((folder / "usage.json").read_text())
    return usage["by_node"].get(PROBE_NODE, {"calls": 0})["calls"]


def hints(folder: Path) -> list[dict[str, object]]:
    """The hints with all that is known of them, but for the model's name."""
    found = [json.loads(line) for line in (folder / "hints.jsonl").read_text().splitlines()]
    for hint in found:
        hint["provenance"].pop("model")
        hint["provenance"].pop("run")
        hint["evidence"].pop("model")
    return found


async def run(settings: RunSettings) -> None:
    await run_demo(settings, Console(file=io.StringIO()))


@pytest.fixture(scope="session")
def whole(http_run: HttpRun) -> Whole:
    return Whole(http_run.folder, http_run.asked)


@pytest.fixture
def server(embedded: CatalogChatModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(embedded, latency=0.005) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "unused")
        yield server


def test_the_real_client_over_http_finds_the_same(finished, whole: Whole, rows_of) -> None:
    assert hints(whole.folder) == hints(finished.folder)
    assert numbers(whole.folder) == numbers(finished.folder)
    assert about_as_many_calls(whole.folder, finished.folder)
    over_http, in_process = rows_of(whole.folder), rows_of(finished.folder)
    assert Counter(over_http.values()) == Counter(in_process.values())
    # The same words from another address may be another model's: kept under other keys.
    assert not over_http.keys() & in_process.keys()


def test_no_prompt_is_sent_twice(whole: Whole, rows_of) -> None:
    assert probes(whole.folder) == 1
    assert whole.requests == len(set(whole.asked)) == len(rows_of(whole.folder)) + 1


def test_test_sessions_are_first_shown_when_all_is_learned(
    whole: Whole, planted: PlantedSessions
) -> None:
    dataset = load_folder(planted.folder)

    def sent(sessions: Sequence[Session]) -> list[int]:
        blocks = [SessionView.of(session, dataset.catalog).candidate_block for session in sessions]
        return [n for n, asked in enumerate(whole.asked) if any(b in asked for b in blocks)]

    train, valid, test = (sent(sessions) for _, sessions in dataset.splits())
    assert max(train) < min(valid)
    assert max(valid) < min(test)


def test_the_same_seed_gives_the_same_parameters(finished, whole: Whole) -> None:
    for name in ("scoring_ppo", "noise_control"):
        one, other = (
            [p.read_bytes() for p in sorted((folder / "policies" / name).glob("*.safetensors"))]
            for folder in (finished.folder, whole.folder)
        )
        assert one
        assert one == other


async def test_a_run_cancelled_twice_goes_on_to_the_same_result(
    whole: Whole, server: OpenAIServer, settings_for: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = settings_for(folder, llm="openai:local", limits={"max_concurrency": CONCURRENCY})

    async def cancelled_when(ready: Callable[[], bool]) -> None:
        task = asyncio.create_task(run(settings))
        while not (task.done() or ready()):  # noqa: ASYNC110 (nothing tells of a request)
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (folder / "metrics.json").exists()

    await cancelled_when(lambda: server.requests >= 60)
    explored = server.requests
    assert not (folder / "hints.jsonl").exists()
    await cancelled_when(
        lambda: (folder / "hints.jsonl").is_file() and server.requests >= explored + 20
    )
    assert not (folder / "rewards.valid.parquet").exists()
    await run(settings)
    assert numbers(folder) == numbers(whole.folder)
    assert about_as_many_calls(folder, whole.folder)
    assert hints(folder) == hints(whole.folder)
    assert server.requests == distinct(server)


def command(settings: RunSettings) -> list[str]:
    names = ("data", "run", "embeddings", "lm_steps", "max_hints", "max_explored")
    names += ("max_rewarded", "num_probes")
    options = [f"--{name.replace('_', '-')}={getattr(settings, name)}" for name in names]
    options += [f"--llm={settings.llm.name}", f"--concurrency={settings.limits.max_concurrency}"]
    return [str(Path(sys.executable).parent / "agentrec"), "demo", *options]


def stop(process: subprocess.Popen[str], server: OpenAIServer, more: int, how: int) -> str:
    """Send a signal once some more requests came in; what the process said to the end."""
    limit, until = time.monotonic() + 60, server.requests + more
    while server.requests < until:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.002)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    return said


def test_killed_then_interrupted_it_still_comes_to_the_same_result(
    whole: Whole,
    server: OpenAIServer,
    settings_for: Settings,
    planted: PlantedSessions,
    tmp_path: Path,
) -> None:
    settings = settings_for(
        tmp_path / "run", llm="openai:local", limits={"max_concurrency": CONCURRENCY}
    )
    server.latency = 0.03

    def begun() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    killed = begun()
    stop(killed, server, 80, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    before_kill = prompts(server)
    assert len(before_kill) == len(set(before_kill))

    interrupted = begun()
    said = stop(interrupted, server, 80, signal.SIGINT)
    assert interrupted.returncode == 130
    assert said == "Stopped. Run the same command again to resume.\n"

    server.latency = 0
    asyncio.run(run(settings))
    assert numbers(tmp_path / "run") == numbers(whole.folder)
    assert about_as_many_calls(tmp_path / "run", whole.folder)
    assert hints(tmp_path / "run") == hints(whole.folder)
    # Only what was on its way when the process was killed is asked for again.
    twice = [prompt for prompt, count in Counter(prompts(server)).items() if count > 1]
    assert len(twice) <= CONCURRENCY
    assert set(twice) <= set(before_kill)
    assert server.requests == distinct(server) + len(twice)
