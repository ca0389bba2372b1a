"""What ranks a run's sessions without a language model, its sequential recommender included."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.atomic_files import write_atomically
from agentrec.evaluation.baselines import (
    ItemKNNRanker,
    PopularityRanker,
    RandomRanker,
    Ranker,
    TextSimilarityRanker,
)
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.progress import run_blocking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import writing
from agentrec.sessions import Session
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
        """The record in a file; ``None`` if there is none or it is invalid. Blocks."""
        try:
            return cls.model_validate_json(file.read_bytes()) if file.is_file() else None
        except ValidationError:
            return None


def rank_in(ranked: Sequence[str], session: Session) -> int | None:
    """Rank of a session's target in a ranking, from 1; ``None`` if it is not in it."""
    target = session.target
    return ranked.index(target) + 1 if target is not None and target in ranked else None


async def baseline_ranks(run: OpenRun, sessions: Sequence[Session]) -> dict[str, list[int | None]]:
    """Rank of each session's target under each baseline, by its name.

    Raises:
        InputError: If the run folder cannot be written, or its recommender is broken.
    """
    backbone = await obtain_backbone(run)
    ids, seed, knowledge = run.dataset.catalog.item_ids, run.settings.seed, run.knowledge

    def ranks() -> dict[str, list[int | None]]:
        rankers: dict[str, Ranker] = {
            "random": RandomRanker(seed),
            "popularity": PopularityRanker(knowledge.counts, seed),
            "item_knn": ItemKNNRanker(run.dataset.train, ids, seed=seed),
            "text_similarity": TextSimilarityRanker(ids, knowledge.text_vectors, seed=seed),
        }
        if backbone is not None:
            rankers[backbone.backbone_kind] = backbone
        return {
            name: [rank_in(ranker.rank(session), session) for session in sessions]
            for name, ranker in rankers.items()
        }

    return await asyncio.to_thread(ranks)


def backbone_config(settings: RunSettings) -> BackboneConfig:
    """The defaults, with scores that fit how the run's candidates are drawn."""
    # Among evenly drawn candidates, popular items are as much likelier.
    offset = {"popularity_offset": 0.0} if settings.negatives == "uniform" else {}
    return BackboneConfig(**offset)


async def obtain_backbone(run: OpenRun) -> SequentialRecommender | None:
    """Return the run's recommender; train it if there is none that was made the same way.

    It learns from the training sessions; the validation sessions end its training and choose the
    epoch. A training that was stopped resumes.

    Returns:
        The recommender; ``None`` if the settings want none.

    Raises:
        InputError: If the run folder cannot be written, or what is in it is broken.
    """
    settings, dataset, folder = run.settings, run.dataset, run.folder.backbone
    if settings.backbone is None:
        return None
    record = BackboneRecord(
        kind=settings.backbone,
        config=backbone_config(settings),
        seed=settings.seed,
        data_hash=dataset.content_hash,
    )
    file, checkpoint = folder / RECORD_FILE, folder / "checkpoint"
    if await asyncio.to_thread(BackboneRecord.read, file) == record:
        return await asyncio.to_thread(SequentialRecommender.load, folder)
    valid = [one for one in dataset.valid if one.target is not None and one.candidates]
    trainer = BackboneTrainer(record.kind, record.config, checkpoint)
    with run.display.phase(f"Training: {record.kind}") as report:

        def fit(check: Callable[[], None]) -> SequentialRecommender:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            with writing(folder):
                file.unlink(missing_ok=True)
                trained = trainer.fit(
                    dataset.train,
                    valid,
                    dataset.catalog,
                    seed=record.seed,
                    on_progress=on_progress,
                )
                trained.save(folder)
                # Last: what is recorded is complete.
                write_atomically(file, (record.model_dump_json(indent=1) + "\n").encode())
                shutil.rmtree(checkpoint, ignore_errors=True)
            return trained

        return await run_blocking(fit)
