"""The sequential recommender of a run: trained once, kept in its folder, and a baseline there."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.atomic_files import write_atomically
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.progress import run_blocking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import writing
from agentrec.settings.run_settings import RunSettings

RECORD_FILE = "training.json"


class BackboneRecord(BaseModel):
    """What the recommender in a run folder was made with; ``training.json`` beside it.

    Attributes:
        kind: The backbone.
        config: Its hyper-parameters.
        seed: Seed of its training.
        data_hash: Hash of catalogue and sessions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: BackboneKind
    config: BackboneConfig
    seed: int
    data_hash: str

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """The record in a file; ``None`` if there is none, or it is not one. Blocks."""
        try:
            return cls.model_validate_json(file.read_bytes()) if file.is_file() else None
        except ValidationError:
            return None


def backbone_config(settings: RunSettings) -> BackboneConfig:
    """The defaults, with scores that are right for how the run's candidates are drawn."""
    if settings.negatives == "uniform":
        # Chosen among evenly drawn items, what is widely known is as much likelier.
        return BackboneConfig(popularity_offset=0.0)
    return BackboneConfig()


async def obtain_backbone(parts: OpenRun) -> SequentialRecommender | None:
    """The run's recommender: the one that is there if it was made so, else a new one.

    It learns from the training sessions; the validation sessions end its training and choose the
    epoch. A training that is stopped goes on where it was.

    Args:
        parts: The run.

    Returns:
        The recommender; ``None`` where the settings want none.

    Raises:
        InputError: If the run folder cannot be written, or what is in it is broken.
    """
    settings, dataset, folder = parts.settings, parts.dataset, parts.folder.backbone
    if settings.backbone is None:
        return None
    record = BackboneRecord(
        kind=settings.backbone,
        config=backbone_config(settings),
        seed=settings.seed,
        data_hash=dataset.content_hash,
    )
    known, checkpoint = folder / RECORD_FILE, folder / "checkpoint"
    if await asyncio.to_thread(BackboneRecord.read, known) == record:
        return await asyncio.to_thread(SequentialRecommender.load, folder)
    valid = [one for one in dataset.valid if one.target is not None and one.candidates]
    trainer = BackboneTrainer(record.kind, record.config, checkpoint)
    with parts.display.phase(f"Training: {record.kind}") as report:

        def fit(check: Callable[[], None]) -> SequentialRecommender:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            with writing(folder):
                known.unlink(missing_ok=True)
                made = trainer.fit(
                    dataset.train,
                    valid,
                    dataset.catalog,
                    seed=record.seed,
                    on_progress=on_progress,
                )
                made.save(folder)
                # Last: what is recorded is whole.
                write_atomically(known, (record.model_dump_json(indent=1) + "\n").encode())
                shutil.rmtree(checkpoint, ignore_errors=True)
            return made

        return await run_blocking(fit)
