"""The closed loop on MovieLens-100K for seeds 0 to 4: what the policy gains."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.settings.run_settings import RunSettings

SHOWN = (
    "policy - no_hint",
    "policy - best_single_hint",
    "noise_control - no_hint",
    "noise_control - best_single_hint",
)


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("default")
async def test_five_seeds(tmp_path: Path) -> None:
    lines = []
    for seed in range(5):
        settings = RunSettings(run=tmp_path / str(seed), seed=seed)
        report = await run_demo(settings, Console(stderr=True))
        for name in SHOWN:
            value = report.differences[name]["ndcg@10"]
            lines.append(
                f"seed {seed}  {name:<34}{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
            )
        assert report.differences["policy - no_hint"]["ndcg@10"].low > 0
        assert report.differences["noise_control - no_hint"]["ndcg@10"].low <= 0
    print("\n" + "\n".join(lines))
