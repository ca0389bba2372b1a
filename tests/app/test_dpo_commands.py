"""`agentrec dpo`: tune a model on a file of pairs, and judge what came of it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from app.planted_pairs import planted_pairs, save_taught, save_tiny_llama, short_pairs
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from agentrec.app.cli.dpo import dpo_app
from agentrec.app.preferences import model_tuning as alignment_work
from agentrec.app.preferences.model_tuning import PICTURE_FILE, dpo_train
from agentrec.app.reports.plots import draw_alignment
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training_folder import AlignmentPoint
from agentrec.progress import Report
from agentrec.stores.pairs.export import write_pairs

Call = Callable[..., Result]

CONFIG = AlignmentConfig(batch_size=8, epochs=1)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "200")

    def dpo(*arguments: object) -> Result:
        return CliRunner().invoke(dpo_app, list(map(str, arguments)))

    return dpo


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_taught(tmp_path_factory.mktemp("embedded") / "taught")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    write_pairs(file, planted_pairs(24))
    return file


def test_a_model_is_tuned_judged_and_used(
    call: Call, taught: Path, pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned"
    options = ("--epochs=1", "--batch-size=8", "--learning-rate=1e-3", "--set=check_every=2")
    told = call("train", pairs, taught, out, *options)
    assert told.exit_code == 0, told.output
    assert f"agentrec demo --llm catalog-lm:{out}" in told.stdout
    assert f"agentrec dpo eval OTHER_PAIRS {taught} {out}" in told.stdout
    assert "pairs kept out" in told.stdout
    record = json.loads((out / "alignment.json").read_text())
    assert (record["learning_rate"], record["config"]["check_every"]) == (1e-3, 2)
    assert (out / PICTURE_FILE).read_bytes().startswith(b"\x89PNG")
    assert CatalogChatModel.from_folder(out).catalog_model.name.startswith("trained-dpo-")
    others = tmp_path / "others.parquet"
    write_pairs(others, planted_pairs(12, start=1000))
    judged = call("eval", others, taught, out, "--json")
    assert judged.exit_code == 0, judged.output
    report = json.loads(judged.stdout)
    assert report["accuracy"]["mean"] == 1.0
    assert report["margin"]["low"] > 0
    assert (report["pairs"], report["sessions"]) == (12, 12)
    for_people = call("eval", others, taught, out)
    assert "reward margin" in for_people.stdout
    assert "lines in form, written freely" in for_people.stdout


def test_an_adapter_is_made_and_judged(call: Call, tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "llama")
    file = tmp_path / "pairs.jsonl"
    write_pairs(file, short_pairs(16))
    out = tmp_path / "adapter"
    told = call("train", file, model, out, "--lora-rank=2", "--epochs=1", "--method=dpo")
    assert told.exit_code == 0, told.output
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {f.name for f in out.iterdir()}
    judged = call("eval", file, model, out)
    assert judged.exit_code == 0, judged.output


def without_field(file: Path) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    del rows[2]["chosen"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def cut(file: Path) -> None:
    file.write_text(file.read_text()[:-40])


@pytest.mark.parametrize(
    ("spoil", "arguments", "told"),
    [
        (without_field, ["{pairs}", "{taught}", "{out}"], "pairs.jsonl:3, field 'chosen'"),
        (cut, ["{pairs}", "{taught}", "{out}"], "pairs.jsonl:24"),
        (Path.unlink, ["{pairs}", "{taught}", "{out}"], "pairs.jsonl"),
        (None, ["{pairs}", "nowhere", "{out}"], "nowhere"),
        (None, ["{pairs}", "{tmp}", "{out}"], "is not a folder of a language model"),
        (None, ["{pairs}", "{taught}", "{taught}"], "not empty"),
        (None, ["{pairs}", "{taught}", "{pairs}"], "name another"),
        (None, ["{pairs}", "{taught}", "{out}", "--beta=0"], "beta"),
        (None, ["{pairs}", "{taught}", "{out}", "--method=ppo"], "method"),
        (None, ["{pairs}", "{taught}", "{out}", "--lora-rank=4"], "tuned whole"),
        (None, ["{pairs}", "{taught}", "{out}", "--set=nll_wait=1"], "did you mean nll_weight?"),
        (None, ["{pairs}", "{taught}", "{out}", "--set=1"], "NAME=VALUE"),
        (None, ["{pairs}", "{taught}", "{out}", "--set=max_length=8"], "longer than 8 tokens"),
    ],
)
def test_errors_are_one_clear_line(
    spoil: Callable[[Path], None] | None,
    arguments: list[str],
    told: str,
    call: Call,
    taught: Path,
    pairs: Path,
    tmp_path: Path,
) -> None:
    if spoil is not None:
        spoil(pairs)
    empty = tmp_path / "empty"
    empty.mkdir()
    names = {"pairs": pairs, "taught": taught, "out": tmp_path / "out", "tmp": empty}
    before = sorted(taught.iterdir())
    result = call("train", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert told in result.stderr
    assert not (tmp_path / "out").exists()
    assert sorted(taught.iterdir()) == before


def test_the_extra_is_named_where_it_is_missing(
    call: Call, taught: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    result = call("train", pairs, taught, tmp_path / "out")
    assert result.exit_code == 2
    assert "pip install 'agentrec[dpo]'" in result.stderr


def test_models_that_do_not_belong_together_are_told(
    call: Call, taught: Path, pairs: Path, tmp_path: Path
) -> None:
    result = call("eval", pairs, taught, save_tiny_llama(tmp_path / "llama"))
    assert result.exit_code == 2
    assert "other tokens" in result.stderr


class Watched:
    """Tells which steps were made, and calls back at each."""

    def __init__(self, on_done: Callable[[int], None]) -> None:
        self.seen: list[int] = []
        self._on_done = on_done

    def __call__(self, console: Console) -> Watched:
        return self

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        def report(done: int, of: int) -> None:
            self.seen.append(done)
            self._on_done(done)

        yield report


async def test_a_cancelled_training_goes_on_where_it_was(
    taught: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, out = Console(quiet=True), tmp_path / "out"
    loop = asyncio.get_running_loop()

    def stop_at_2(done: int) -> None:
        if done == 2:
            loop.call_soon_threadsafe(task.cancel)
            time.sleep(0.3)  # The check that follows is to find it.

    monkeypatch.setattr(alignment_work, "ConsoleProgress", Watched(stop_at_2))
    task = asyncio.create_task(dpo_train(pairs, taught, out, CONFIG, console))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not out.exists()
    on = Watched(lambda done: None)
    monkeypatch.setattr(alignment_work, "ConsoleProgress", on)
    await dpo_train(pairs, taught, out, CONFIG, console)
    assert on.seen == [3]


def points(rewards: bool) -> list[AlignmentPoint]:
    return [
        AlignmentPoint(
            step=step,
            epoch=step / 4,
            part=part,
            loss=1 / step,
            margin=0.1 * step if rewards else None,
            accuracy=0.5 if rewards else None,
            token_accuracy=0.1 * step,
        )
        for step in range(1, 9)
        for part in (("train", "held_out") if step % 4 == 0 else ("train",))
    ]


@pytest.mark.parametrize("rewards", [True, False])
def test_equal_pictures_are_equal_files(rewards: bool, tmp_path: Path) -> None:
    contents = []
    for name in ("a.svg", "b.svg"):
        draw_alignment(tmp_path / name, points(rewards), kept_step=4, title="50 $ <pairs>")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert b"50 $ &lt;pairs&gt;" in contents[0]
    assert (b"reward margin" in contents[0]) == rewards


def test_a_picture_needs_a_name_and_something_to_show(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends with \.png or \.svg"):
        draw_alignment(tmp_path / "a.jpg", points(True))
    with pytest.raises(ValueError, match="no point"):
        draw_alignment(tmp_path / "a.png", [])
