"""Training a hint policy of a run, and deciding whether it goes live."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.app.learning.run_rewards import TrainingData
from agentrec.app.reports.plots import draw_learning_curve
from agentrec.atomic_files import write_atomically
from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.hint_offers import RewardedOffer
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.policies.no_regret_gate import NO_HINT, GateVerdict, NoRegretGate
from agentrec.policies.policy_files import EncoderRecord, StorableHintPolicy, write_policy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.progress import ProgressDisplay, run_blocking
from agentrec.runs.run_folder import RunFolder, write_json, writing
from agentrec.settings.policy_settings import PolicySettings

BEST_SINGLE = "best_single"
TRAINING_FILE = "training.json"
CURVE_FILE = "curve.png"


class TrainingRecord(BaseModel):
    """What a policy in a run folder was made with; ``training.json`` beside it.

    Attributes:
        policy: Its settings.
        seed: Seed of its training.
        sessions: How many sessions it was trained on, picked by and judged by.
        hints: How many hints there were.
        share_measured: Share of the training rewards that were measured, above 0 to 1; the others
            were predicted or left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: PolicySettings
    seed: int
    sessions: dict[str, int]
    hints: int
    share_measured: float

    def save(self, folder: Path) -> None:
        """Put it beside the policy; blocks."""
        write_atomically(folder / TRAINING_FILE, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def beside(cls, folder: Path) -> Self | None:
        """That of the policy in a folder; ``None`` if there is none. Blocks.

        Raises:
            InputError: If it is broken.
        """
        file = folder / TRAINING_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise InputError("is not the record of a training", file=file) from error


async def train_policy(
    title: str,
    settings: PolicySettings,
    data: TrainingData,
    folder: Path,
    display: ProgressDisplay,
    *,
    seed: int,
    encoder: EncoderRecord | None = None,
) -> StorableHintPolicy:
    """Train a policy and write it down, with what it was made with and its learning curve.

    A training that is stopped is found again in ``folder / "checkpoint"`` by the next one of the
    same settings, seed and data, and comes to the same parameters.

    Args:
        title: What is being done, for people.
        settings: Which policy.
        data: The sessions and their rewards.
        folder: Where to.
        display: Where progress is shown.
        seed: Of the training.
        encoder: What the states come from; stored with the policy.

    Raises:
        InputError: The policy is of a kind that cannot be stored, or the folder cannot be written.
    """
    checkpoint = folder / "checkpoint"
    trainer = settings.trainer(checkpoint)
    record = TrainingRecord(
        policy=settings,
        seed=seed,
        sessions={name: len(part) for name, part in vars(data).items()},
        hints=len(data.train.offer.hints),
        share_measured=_share_measured(data.train),
    )
    with display.phase(f"Training: {title}") as report:

        def fit(check: Callable[[], None]) -> StorableHintPolicy:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            with writing(folder):
                policy = trainer.fit(data.train, data.picking, seed=seed, on_progress=on_progress)
                report(1, 1)
                if not isinstance(policy, StorableHintPolicy):
                    raise InputError(f"{settings.kind!r} cannot be stored", field="policy.kind")
                _forget(folder)
                store_policy(policy, folder, encoder)
                _draw(policy, data.picking, folder, title)
                record.save(folder)
                shutil.rmtree(checkpoint, ignore_errors=True)
            return policy

        return await run_blocking(fit)


def let_live(
    folder: RunFolder,
    name: str,
    policy: StorableHintPolicy,
    data: TrainingData,
    *,
    seed: int,
    encoder: EncoderRecord | None = None,
) -> GateVerdict:
    """Judge whether a policy may go live, and put what may into the run's folder; blocks.

    Args:
        folder: The run's; its ``live`` policy and ``gate.json`` are replaced.
        name: What the policy is called.
        policy: What was trained.
        data: What it was trained on; only ``judging`` judges.
        seed: Of the intervals.
        encoder: What the states come from; stored with the policy.

    Raises:
        InputError: If the folder cannot be written.
    """
    candidates: dict[str, StorableHintPolicy] = {name: policy, NO_HINT: NoHintPolicy()}
    fallbacks: Mapping[str, HintPolicy] = {}
    if name != BEST_SINGLE:
        best = BestSingleHintTrainer().fit(data.picking)
        candidates[BEST_SINGLE] = best
        fallbacks = {BEST_SINGLE: best}
    verdict = NoRegretGate(seed=seed).judge({name: policy}, data.judging, fallbacks=fallbacks)
    record = TrainingRecord.beside(folder.policy(name))
    if record is not None and verdict.live != name:
        # It was judged, and is to choose, among as many hints as what it stands in for.
        instead = PolicySettings(kind=verdict.live, nearest=record.policy.nearest)
        record = record.model_copy(update={"policy": instead})
    with writing(folder.live):
        _forget(folder.live)
        store_policy(candidates[verdict.live], folder.live, encoder)
        if record is not None:
            record.save(folder.live)
        write_json(folder.gate, verdict.model_dump(mode="json"))
    return verdict


def store_policy(
    policy: StorableHintPolicy, folder: Path, encoder: EncoderRecord | None = None
) -> None:
    """Write a policy of any kind that can be stored; blocks.

    Raises:
        OSError: The folder cannot be written.
    """
    write_policy(folder, policy.kind, *policy.description_and_tensors(), encoder=encoder)


def _forget(folder: Path) -> None:
    """Remove what tells of the policy in a folder before another takes its place."""
    for stale in (folder / TRAINING_FILE, folder / CURVE_FILE, *folder.glob("evaluation.*.json")):
        stale.unlink(missing_ok=True)


def _share_measured(train: RewardedOffer) -> float:
    offered = train.offer.present
    return float(train.measured[:, 1:][offered].mean()) if offered.any() else 1.0


def _draw(policy: StorableHintPolicy, picking: RewardedOffer, folder: Path, title: str) -> None:
    """The learning curve of a policy that has one."""
    if isinstance(policy, PPOHintPolicy) and policy.curve:
        single = picking.gained(BestSingleHintTrainer().fit(picking).choose(picking.offer))
        known = single[np.isfinite(single)]
        draw_learning_curve(
            folder / CURVE_FILE,
            policy.curve,
            best_single=float(known.mean()) if len(known) else None,
            title=f"Training of {title}",
        )
