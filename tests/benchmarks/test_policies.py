"""All policies on MovieLens-100K or a folder, five whole runs: gains, parts, new hints, halving.

``AGENTREC_BENCH_DATA`` names a folder in the neutral format to use instead; runs are kept in
``AGENTREC_BENCH_RUNS``, if it is set, and found again there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.policy_variants import (
    Gains,
    Measured,
    Split,
    halving_gains,
    held_out_gains,
    scoring_variants,
)
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.app.learning.run_rewards import RunRewards, reopen_run
from agentrec.app.policies.comparison import COMPARED, compared_ndcg
from agentrec.app.policies.requested_training import wanted_policies
from agentrec.app.reports.policy_report import comparison_report
from agentrec.app.reports.tables import show
from agentrec.evaluation.intervals import bootstrap_intervals
from agentrec.evaluation.policy_comparison import compare_policies
from agentrec.runs.open_run import OpenRun
from agentrec.session_encoding.blocks import BLOCK_NAMES
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings

SEEDS = range(int(os.environ.get("AGENTREC_BENCH_SEEDS", "5")))
WIDTH = 130


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("default")
async def test_all_policies_and_what_their_parts_are_worth(tmp_path: Path) -> None:
    console = Console(stderr=True, width=WIDTH)
    kept = Path(os.environ.get("AGENTREC_BENCH_RUNS", tmp_path))
    folder = os.environ.get("AGENTREC_BENCH_DATA")
    ndcg: dict[str, list[Gains]] = {}
    given: dict[str, list[np.ndarray[tuple[int], np.dtype[np.bool_]]]] = {}
    parts_worth: dict[str, list[Gains]] = {}
    new_chosen, calls = [], []
    for seed in SEEDS:
        settings = RunSettings(
            data=Path(folder) if folder else None, run=kept / str(seed), seed=seed
        )
        await run_demo(settings, console)
        async with reopen_run(settings, console) as (parts, rewards):
            found = await compared_ndcg(
                rewards, wanted_policies(PolicySettings(), COMPARED), [seed], "test", parts.display
            )
            for name in found[0]:
                ndcg.setdefault(name, []).append(found[0][name][0])
                given.setdefault(name, []).append(found[1][name][0])
            data = await measured(parts, rewards, seed)
        for name, gains in scoring_variants(data).items():
            parts_worth.setdefault(name, []).append(gains)
        added, share = held_out_gains(data)
        for name, gains in added.items():
            parts_worth.setdefault(f"a fifth of the hints {name}", []).append(gains)
        new_chosen.append(share)
        gains, paid = halving_gains(data)
        parts_worth.setdefault("trained on successive halving", []).append(gains)
        calls.append((paid, data.train.table.ndcg.size))
        console.print(f"seed {seed}: done")
    comparison = compare_policies(
        {name: np.stack(rows) for name, rows in ndcg.items()},
        {name: np.stack(rows) for name, rows in given.items()},
        seed=0,
    )
    print()
    show(comparison_report(comparison, "A seed is a whole run."), Console(width=WIDTH))
    for name in ("scoring_ppo", "categorical_ppo", "value_regression", "best_single"):
        one = next(each for each in comparison.policies if each.name == name)
        print(f"{name}: over no hint by run", *(f"{gain:+.3f}" for gain in one.seed_means))
    told(parts_worth)
    print("share of choices that fell on new hints:", *(f"{share:.0%}" for share in new_chosen))
    print("calls with halving, of the whole table:", *(f"{few} of {all_}" for few, all_ in calls))
    scoring = next(each for each in comparison.policies if each.name == "scoring_ppo")
    assert scoring.over_no_hint.low > 0


async def measured(parts: OpenRun, rewards: RunRewards, seed: int) -> Measured:
    """Every hint on every session of all splits, with states of every block."""
    encoder = RecencySessionEncoder(
        parts.dataset.catalog,
        parts.knowledge.features,
        parts.knowledge.text_vectors,
        blocks=BLOCK_NAMES,
    )
    found = {}
    for split in ("train", "valid", "test"):
        table = await rewards.table(split)
        offer = await rewards.offer(split)
        states = encoder.states(rewards.sessions(split))
        found[split] = Split(table, offer.with_states(states), encoder.block_slices)
    return Measured(found["train"], found["valid"], found["test"], seed)


def told(worth: Mapping[str, Sequence[Gains]]) -> None:
    """Gain over no hint of each variant, and its difference to the policy as it is."""
    means = {name: np.stack(runs).astype(np.float64).mean(axis=0) for name, runs in worth.items()}
    columns = [*means.values(), *(gains - means["as it is"] for gains in means.values())]
    intervals = bootstrap_intervals(np.stack(columns, axis=1), seed=0)
    print(f"\n{'scoring policy':<38}{'over no hint':<26}{'minus as it is':<26}sd over runs")
    for name, gain, change in zip(
        means, intervals[: len(means)], intervals[len(means) :], strict=True
    ):
        spread = np.std([float(run.mean()) for run in worth[name]], ddof=1)
        print(
            f"{name:<38}"
            + "".join(
                f"{each.mean:+.3f} [{each.low:+.3f}, {each.high:+.3f}] " for each in (gain, change)
            )
            + f" {spread:.3f}"
        )
