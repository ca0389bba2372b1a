"""A training that kills itself, as a power cut would: ``mortal_trainer.py FOLDER ITERATION``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from agentrec.app.learning.run_rewards import TrainingData
from agentrec.app.policies.training import train_policy
from agentrec.policies.policy_files import StorableHintPolicy
from agentrec.progress import ProgressDisplay, Report
from agentrec.settings.policy_settings import PolicySettings
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards

ITERATIONS = 12
SMALL = {
    "epochs": 1,
    "iterations": ITERATIONS,
    "members": 2,
    "hidden_sizes": [16],
    "latent_size": 8,
    "max_components": 8,
}


def data_of(world: PlantedRewards) -> TrainingData:
    """200 sessions to train on, 50 to pick by, 50 to judge by."""
    parts = (world.between(*ends) for ends in ((0, 200), (200, 250), (250, 300)))
    return TrainingData(*(part.rewarded() for part in parts))


def planted() -> TrainingData:
    return data_of(planted_rewards(300, 5, 12, signal=1.0, noise=0.2, seed=3))


class Watched(ProgressDisplay):
    """Tells which iterations were made.

    Args:
        on_done: Called in the training's thread with the number of each.
    """

    def __init__(self, on_done: Callable[[int], None] = lambda done: None) -> None:
        super().__init__()
        self.seen: list[int] = []
        self._on_done = on_done

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        def report(done: int, of: int) -> None:
            self.seen.append(done)
            self._on_done(done)

        yield report


async def trained(
    folder: Path, display: ProgressDisplay, kind: str = "scoring_ppo"
) -> StorableHintPolicy:
    settings = PolicySettings(kind=kind, settings=SMALL)
    return await train_policy("mine", settings, planted(), folder, display, seed=1)


def _die_at(iteration: int) -> Callable[[int], None]:
    def on_done(done: int) -> None:
        if done == iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_done


if __name__ == "__main__":
    torch.set_num_threads(1)
    asyncio.run(trained(Path(sys.argv[1]), Watched(_die_at(int(sys.argv[2])))))
