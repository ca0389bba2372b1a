"""The second loop over whole runs: texts, rewards, pairs, tuning, and what it does to rankings.

Each seed is a run of its own, of negatives, draws and trainings alike: pairs are collected, the
embedded model is tuned by DPO, by rejection-sampling fine-tuning, and by DPO on the same pairs
with their labels shuffled; pairs of the texts that the tuned model writes tune it once more; and
all of them write about the sessions of a split.

``AGENTREC_BENCH_SEEDS`` is how many seeds (3); ``AGENTREC_BENCH_SPLIT=valid`` looks at validation
sessions only, which is where to try things out; ``AGENTREC_BENCH_RUNS`` is a folder to keep the
runs in, ``AGENTREC_BENCH_DATA`` another data set than MovieLens-100K.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentrec.evaluation.intervals import bootstrap_intervals
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.pairs.export import read_pairs, write_pairs

SEEDS = range(int(os.environ.get("AGENTREC_BENCH_SEEDS", "3")))
SPLIT = os.environ.get("AGENTREC_BENCH_SPLIT", "test")
DATA = os.environ.get("AGENTREC_BENCH_DATA")
METRICS = ("ndcg@10", "map@10", "rest ndcg@10", "rest map@10")
# Everything about tuning is as it comes; what is collected, and how often, was chosen on
# validation sessions.
TUNINGS: Mapping[str, Sequence[str]] = {
    "RFT": ("--method", "rft"),
    "shuffled": (),
    "DPO": (),
    "DPO twice": (),
}
COLLECTING = """
[prefer]
samples = 6
# Nothing is learnt from sessions, so that pairs come from all of them.
reward = "model"
max_sessions = 1400

[prefer.rules]
most_pairs = 3
# The embedded model's texts are one to three short lines.
max_length_ratio = 4.0
"""


@pytest.mark.bench
@pytest.mark.enable_socket
def test_texts_before_and_after_tuning(tmp_path: Path) -> None:
    kept = Path(os.environ.get("AGENTREC_BENCH_RUNS", tmp_path))
    settings = tmp_path / "settings.toml"
    settings.write_text(COLLECTING)
    reports, seconds = [], dict[str, list[float]]()
    for seed in SEEDS:
        reports.append(_one_run(kept / str(seed), settings, seed, seconds))
    for step, taken in seconds.items():
        print(f"{step:28s} {np.mean(taken):6.0f} s")
    _print_means(reports)
    for who in reports[0]["own_preferred"]:
        shares = [report["own_preferred"][who] for report in reports]
        told = ", ".join(
            f"{one['mean']:.1%} [{one['low']:.1%}, {one['high']:.1%}]" for one in shares
        )
        print(f"the reward model prefers a session's own text, {who}: {told}")
    _print_differences(reports)


def _one_run(
    run: Path, settings: Path, seed: int, seconds: dict[str, list[float]]
) -> dict[str, object]:
    given = ["--run", str(run), "--config", str(settings)]
    data = ["--data", DATA] if DATA else []
    collecting = ["prefer", "collect", *given, *data, "--seed", str(seed)]
    _timed("collecting", seconds, *collecting)
    folder = RunFolder(run).preferences
    pairs, shuffled = folder / "pairs.jsonl", run / "shuffled.jsonl"
    _shuffle_labels(pairs, shuffled, seed)
    model = json.loads((folder / "collection.json").read_text())["model_folder"]
    for name, options in TUNINGS.items():
        out = run / name
        if out.exists():
            continue
        chosen, base = shuffled if name == "shuffled" else pairs, model
        if name == "DPO twice":
            base = str(run / "DPO")
            _timed("collecting again", seconds, *collecting, "--writer", f"catalog-lm:{base}")
            chosen = next(folder.glob("*/pairs.jsonl"))
        at = ["dpo", "train", str(chosen), base, str(out), "--seed", str(seed)]
        _timed(f"tuning: {name}", seconds, *at, *options)
    tuned = [each for name in TUNINGS for each in ("--tuned", f"catalog-lm:{run / name}")]
    _timed("judging", seconds, "rewardmodel", "eval", *given, "--split", SPLIT, *tuned)
    name = "texts.json" if SPLIT == "test" else f"texts.{SPLIT}.json"
    found: dict[str, object] = json.loads((run / name).read_text())
    return found


def _timed(step: str, seconds: dict[str, list[float]], *command: str) -> None:
    started = time.perf_counter()
    agentrec = Path(sys.executable).with_name("agentrec")
    # What is set for the benchmark is no setting of the command's.
    own = {name: value for name, value in os.environ.items() if "AGENTREC_BENCH" not in name}
    subprocess.run([str(agentrec), *command], check=True, env=own)
    seconds.setdefault(step, []).append(time.perf_counter() - started)


def _shuffle_labels(pairs: Path, out: Path, seed: int) -> None:
    """The same pairs, of every other of which, by lot, the worse text is called the chosen one."""
    draw = random.Random(seed)
    turned = [
        one.model_copy(update={"chosen": one.rejected, "rejected": one.chosen})
        if draw.random() < 0.5
        else one
        for one in read_pairs(pairs)
    ]
    out.unlink(missing_ok=True)
    write_pairs(out, turned, "conversational")


def _named(method: str) -> str:
    for number, name in enumerate(TUNINGS, start=1):
        method = method.replace(f"tuned {number}", f"after {name}")
    return method


def _columns(reports: Sequence[Mapping[str, object]], method: str) -> np.ndarray:
    """Values of a method, means over seeds, ``[sessions, metrics]``."""
    values = [report["values"][method] for report in reports]  # type: ignore[index]
    return np.mean([[each[metric] for metric in METRICS] for each in values], axis=0).T


def _print_rows(title: str, rows: Mapping[str, np.ndarray], sign: str) -> None:
    print(f"\n{title:34s}" + "".join(f"{metric:>26s}" for metric in METRICS))
    for name, columns in rows.items():
        cells = [
            f"{one.mean:{sign}.3f} [{one.low:{sign}.3f}, {one.high:{sign}.3f}]"
            for one in bootstrap_intervals(columns, seed=0)
        ]
        print(f"{name:34s}" + "".join(f"{cell:>26s}" for cell in cells))


def _print_means(reports: Sequence[Mapping[str, object]]) -> None:
    methods = list(reports[0]["values"])  # type: ignore[call-overload]
    # Sessions are the same under every seed; their negatives are not.
    assert len({tuple(report["sessions"]) for report in reports}) == 1  # type: ignore[arg-type]
    _print_rows(
        f"{SPLIT}, {len(reports)} seeds",
        {_named(one): _columns(reports, one) for one in methods},
        "",
    )


def _print_differences(reports: Sequence[Mapping[str, object]]) -> None:
    pairs = [name.split(" - ") for name in reports[0]["differences"]]  # type: ignore[attr-defined]
    numbers = {name: number for number, name in enumerate(TUNINGS, start=1)}
    pairs += [
        [f"{kind} tuned {numbers['DPO']}", f"{kind} tuned {numbers[other]}"]
        for kind in ("told", "reranked")
        for other in ("shuffled", "RFT")
    ]
    rows = {
        f"{_named(a)} - {_named(b)}": _columns(reports, a) - _columns(reports, b) for a, b in pairs
    }
    _print_rows("paired, mean over seeds", rows, "+")
