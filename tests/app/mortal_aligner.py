"""A tuning that kills itself, as a power cut would: ``mortal_aligner.py MODEL OUT STEP``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from app.planted_pairs import planted_pairs

from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training import align

if __name__ == "__main__":
    torch.set_num_threads(1)

    def on_progress(done: int, steps: int) -> None:
        if done == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

    config = AlignmentConfig(batch_size=8, check_every=4)
    pairs = planted_pairs(48)
    align(pairs, sys.argv[1], Path(sys.argv[2]), config, on_progress=on_progress)
