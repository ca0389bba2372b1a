"""Kill -9 at random moments of `agentrec prefer collect` and `agentrec dpo train`.

What was killed and begun again, as often as it takes, comes to the same as what was not. A small
planted data set, or the folder that ``AGENTREC_BENCH_DATA`` names; ``AGENTREC_BENCH_SEED`` draws
the moments and is 0 unless told.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from benchmarks.killed_commands import (
    STARTING,
    Life,
    Moment,
    drawn_moments,
    live,
    lives_until,
)

from agentrec.testing.planted_sessions import write_planted_sessions

# What is killed in a round, in order; a round that is over begins anew.
COLLECTION = ("texts", "backbone", "reward model", "collecting", "collecting")
COLLECTION_ROUNDS = 4
TRAINING = ("reference", "steps", "steps", "ending")
TRAINING_ROUNDS = 3

SETTINGS = """
embeddings = "hashed"
lm_steps = 100
[prefer]
samples = 3
reward_share = 0.5
[prefer.backbone_settings]
dim = 32
epochs = 60
patience = 60
[prefer.reward_model]
epochs = 250
patience = 250
"""

# What is told of a phase that is over, and the phase that has begun then.
PHASES = {
    "Embedded model": "texts",
    "Texts to validate with": "backbone",
    "Training: sasrec": "reward model",
    "Training: reward model": "collecting",
    "Collecting preferences": "ending",
}

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]


@dataclass(frozen=True)
class Collecting:
    """Collecting in a run folder."""

    run: Path
    data: Path

    @property
    def log(self) -> Path:
        return self.run.with_suffix(".log")

    @property
    def phase(self) -> str:
        said = self.log.read_text()
        seen = [phase for title, phase in PHASES.items() if title in said]
        # Once there is a reward model, no texts are written for it.
        if seen == ["texts"] and (self.run / "reward-model/training.json").is_file():
            return "collecting"
        return [STARTING, *seen][-1]

    def live(self, moment: Moment | None = None) -> Life:
        """Begin or go on."""
        config = self.run.with_name("settings.toml")
        config.write_text(SETTINGS)
        arguments = ["--config", config, "--data", self.data, "--run", self.run]
        return live(["prefer", "collect", *arguments], self.log, lambda: self.phase, moment)

    @property
    def results(self) -> dict[str, str]:
        """Hashes of the pairs, of what came of collecting them, and of what rewarded them."""
        names = ("preferences/pairs.jsonl", "preferences/collection.json")
        names += ("reward-model/policy.json", "reward-model/training.json")
        return {name: sha256(self.run / name) for name in names}


@dataclass
class Training:
    """A training on pairs, and what is seen of it from outside.

    Attributes:
        pairs: The pairs.
        model: What is tuned.
        out: Where the result goes.
        resumed: Of each life that went on, its last whole checkpoint and its first step.
    """

    pairs: Path
    model: Path
    out: Path
    resumed: list[tuple[int, int]] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        return self.out.with_name(f".{self.out.name}-training")

    @property
    def phase(self) -> str:
        if self.out.exists():
            return "ending"
        if (self.kept / "metrics.jsonl").exists():
            return "steps"
        return "reference" if (self.kept / "training.json").exists() else STARTING

    @property
    def checkpoint(self) -> int:
        """The newest checkpoint that is whole; 0 for none."""
        marks = self.kept.glob("checkpoint-*/whole.json")
        return max((int(mark.parent.name.partition("-")[2]) for mark in marks), default=0)

    def live(self, moment: Moment | None = None) -> Life:
        """Begin or go on."""
        log, checkpoint = self.kept / "metrics.jsonl", self.checkpoint
        before, first = inode(log), list[int]()

        def phase() -> str:
            # A training that begins or goes on replaces the log by its rows up to there.
            if not first and inode(log) not in (None, before):
                steps = [json.loads(row)["step"] for row in whole_lines(log)]
                first.append(max(steps, default=0))
            return self.phase

        arguments = [self.pairs, self.model, self.out, "--epochs=4", "--batch-size=8"]
        said = self.out.with_suffix(".log")
        life = live(["dpo", "train", *arguments, "--set=check_every=5"], said, phase, moment)
        if checkpoint and first:
            self.resumed.append((checkpoint, first[0]))
        return life


def inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return None


def whole_lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text().splitlines(True) if line.endswith("\n")]
    except FileNotFoundError:
        return []


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("survival")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTREC_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    if named := os.environ.get("AGENTREC_BENCH_DATA"):
        return Path(named)
    written = write_planted_sessions(
        folder / "data", num_items=60, num_train=200, num_valid=30, num_test=1
    )
    return written.folder


@pytest.fixture(scope="module")
def whole(folder: Path, data: Path) -> Collecting:
    """Pairs collected by nobody interrupted, and the embedded model taught before."""
    collecting = Collecting(folder / "whole", data)
    collecting.live()
    return collecting


@pytest.fixture
def draws() -> random.Random:
    return random.Random(int(os.environ.get("AGENTREC_BENCH_SEED", "0")))


def test_a_collection_that_is_killed_ends_with_the_same_bytes(
    folder: Path, whole: Collecting, draws: random.Random
) -> None:
    again = Collecting(folder / "again", whole.data)
    uninterrupted = again.live()
    assert again.results == whole.results

    def killed(number: int) -> Collecting:
        return Collecting(folder / f"killed-{number}", whole.data)

    lives: list[Life] = []
    moments = drawn_moments(COLLECTION, uninterrupted, COLLECTION_ROUNDS, draws)
    for number, life in lives_until(
        moments, len(COLLECTION), lambda number, moment: killed(number).live(moment)
    ):
        lives.append(life)
        if not life.killed:
            assert killed(number).results == whole.results
            lines = (killed(number).run / "preferences/pairs.jsonl").read_text().splitlines()
            ids = [json.loads(line)["pair_id"] for line in lines]
            assert len(set(ids)) == len(ids) > 0
    show("agentrec prefer collect", uninterrupted, lives, f"{len(ids)} pairs")
    assert sum(life.killed for life in lives) == len(moments)


def test_a_training_that_is_killed_goes_on_from_its_last_checkpoint_to_the_same_parameters(
    folder: Path, whole: Collecting, draws: random.Random
) -> None:
    place = folder / "tuned"
    place.mkdir()
    pairs = whole.run / "preferences/pairs.jsonl"
    (model,) = (each for each in (folder / "cache/catalog-lm").iterdir() if each.is_dir())
    once = Training(pairs, model, place / "whole")
    uninterrupted = once.live()
    expected = json.loads((once.out / "alignment.json").read_text())
    trainings = defaultdict[int, Training](
        lambda: Training(pairs, model, place / f"killed-{len(trainings) + 1}")
    )
    lives: list[Life] = []
    moments = drawn_moments(TRAINING, uninterrupted, TRAINING_ROUNDS, draws)
    for number, life in lives_until(
        moments, len(TRAINING), lambda number, moment: trainings[number].live(moment)
    ):
        lives.append(life)
        if not life.killed:
            out = trainings[number].out
            record = json.loads((out / "alignment.json").read_text())
            assert record["parameter_hash"] == expected["parameter_hash"]
            assert record == expected
            for name in ("model.safetensors", "metrics.jsonl"):
                assert sha256(out / name) == sha256(once.out / name), name
            assert (out / "training.png").is_file()
    show("agentrec dpo train", uninterrupted, lives, f"{expected['steps']} steps")
    resumed = [each for training in trainings.values() for each in training.resumed]
    told = ", ".join(f"{step} ({checkpoint})" for checkpoint, step in resumed)
    print(f"went on at step (last whole checkpoint): {told}")
    assert sum(life.killed for life in lives) == len(moments)
    assert resumed
    assert all(checkpoint <= step for checkpoint, step in resumed)
    left = {path.name for path in place.iterdir() if path.suffix != ".log"}
    assert left == {"whole", *(training.out.name for training in trainings.values())}


def show(name: str, uninterrupted: Life, lives: Sequence[Life], made: str) -> None:
    """How often it was killed, in which phase, and how long it all took."""
    phases = Counter(life.phase for life in lives if life.killed)
    ended = sum(not life.killed for life in lives)
    took = ", ".join(f"{phase} {each:.1f} s" for phase, each in uninterrupted.durations.items())
    print(
        f"\n{name}: killed {phases.total()} times, and {ended} times come to the same ({made})\n"
        f"killed in: {', '.join(f'{phase} {count}' for phase, count in phases.items())}\n"
        f"uninterrupted: start-up {uninterrupted.start_up:.1f} s, {took}\n"
        f"{len(lives)} lives: {sum(life.seconds for life in lives):.0f} s, of it start-up"
        f" {sum(life.start_up for life in lives):.0f} s"
    )
