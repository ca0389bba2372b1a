"""Tunes a language model on preference pairs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from agentrec.errors import InputError
from agentrec.policies.alignment.config import AlignmentConfig, Tuned
from agentrec.policies.alignment.models import OpenedModel, folder_hash, import_extra, open_model
from agentrec.policies.alignment.pair_encoding import (
    Example,
    distinct_chosen,
    encode_pairs,
    examples_hash,
    no_usable_pair,
    split_by_user,
)
from agentrec.policies.alignment.training_folder import (
    AlignmentPoint,
    TrainingFolder,
    points_from_log,
    read_points,
)
from agentrec.policies.alignment.trl_trainers import (
    AlignmentCallback,
    OnProgress,
    compute_precision,
    make_trainer,
    restored_process_state,
)
from agentrec.policies.alignment.tuned_model import (
    LOG_FILE,
    RECORD_FILE,
    AlignmentRecord,
    installed_versions,
    parameter_hash,
    write_result,
)
from agentrec.preferences import PreferencePair

_DATA_FORMAT = 2


@dataclass(frozen=True)
class Alignment:
    """A model that was tuned.

    Attributes:
        folder: Where it lies.
        record: What it was made of.
        points: The log of the training.
    """

    folder: Path
    record: AlignmentRecord
    points: tuple[AlignmentPoint, ...]


def align(
    pairs: Sequence[PreferencePair],
    model: Path | str,
    out: Path,
    config: AlignmentConfig | None = None,
    *,
    on_progress: OnProgress = lambda done, steps: None,
    checkpoint: Path | None = None,
) -> Alignment:
    """Tune a model on pairs, or resume where that was stopped.

    Blocks for as long as the training takes. Same pairs, model, settings, versions and machine:
    same parameters, also where the training was stopped or killed and resumed. The random states
    of the process are put back afterwards. Nothing is downloaded but a model that is named
    ``hub:OWNER/NAME``.

    Source: RLRF4Rec; DPO (arXiv 2305.18290), section 4.

    Args:
        pairs: The pairs. Those that cannot be encoded in the model's tokens are left out, and
            counted in the record.
        model: Folder of a causal language model or of the embedded one, or ``hub:OWNER/NAME``.
        out: Folder of the result, written whole or not at all: a model of the same kind, or an
            adapter where ``lora_rank`` is set. It must be missing, empty, or hold the result of
            this very training, which is then returned.
        config: The hyper-parameters; ``None`` for the defaults.
        on_progress: Called with optimiser steps done and in all, with 0 done while reference
            log-probabilities are computed. Raising in it stops the training, which is kept.
        checkpoint: Folder in which a stopped training is kept until it is over; ``None`` for a
            hidden folder beside ``out``.

    Raises:
        InputError: If the extra is not installed, the model or the folders cannot be used, no pair
            can, or the loss overflows.
    """
    config = config or AlignmentConfig()
    for package in ("trl", "peft", "datasets", "accelerate", "huggingface_hub"):
        import_extra(package)
    there = out.exists() and (not out.is_dir() or any(out.iterdir()))
    # Before anything is loaded.
    if there and not (out / RECORD_FILE).is_file():
        raise _taken(out)
    opened = open_model(model, "auto" if config.lora_rank else "float32")
    _check(config, opened)
    examples = encode_pairs(pairs, opened.token_ids, min(config.max_length, opened.most_tokens))
    train, held_out = split_by_user(examples.usable, config.eval_share, config.seed)
    if config.method == "rft":
        train, held_out = distinct_chosen(train), distinct_chosen(held_out)
    if not train:
        raise no_usable_pair(examples)
    base_hash = folder_hash(opened.folder)
    plan = _Plan(
        config, opened, base_hash, tuple(train), tuple(held_out), len(pairs), examples.left_out
    )
    kept_in = checkpoint or out.with_name(f".{out.name}-training")
    if there:
        done = _finished_before(plan, out)
        if kept_in.exists():
            TrainingFolder(kept_in, plan.hash).discard()
        on_progress(plan.steps, plan.steps)
        return done
    with restored_process_state():
        kept = TrainingFolder(kept_in, plan.hash)
        trainer, points, kept_step = _trained(plan, kept, on_progress)
        record = plan.record(kept_step, parameter_hash(trainer.model))
        write_result(opened, trainer.model, record, kept.log, out)
    kept.discard()
    return Alignment(out, record, tuple(points))


@dataclass(frozen=True)
class _Plan:
    """Everything that decides the result."""

    config: AlignmentConfig
    model: OpenedModel
    base_hash: str
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    pairs: int
    left_out: Mapping[str, int]

    @property
    def tuned(self) -> Tuned:
        if self.model.embedded is not None:
            return "embedded"
        return "all" if self.config.lora_rank is None else "lora"

    @property
    def steps(self) -> int:
        return self.config.epochs * math.ceil(len(self.train) / self.config.batch_size)

    @cached_property
    def data_hash(self) -> str:
        return examples_hash([*self.train, *self.held_out])

    @property
    def on_cpu(self) -> bool:
        return self.model.embedded is not None or not torch.cuda.is_available()

    @property
    def precision(self) -> str:
        return compute_precision(self.config, cpu=self.on_cpu)

    @property
    def hash(self) -> str:
        described = [
            _DATA_FORMAT,
            self.config.model_dump(mode="json"),
            self.base_hash,
            self.data_hash,
            installed_versions(),
            self.precision,
        ]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    def record(self, kept_step: int, parameters: str) -> AlignmentRecord:
        return AlignmentRecord(
            config=self.config,
            tuned=self.tuned,
            learning_rate=self.config.rate(self.tuned),
            base=self.model.name,
            base_hash=self.base_hash,
            pairs=self.pairs,
            trained_on=len(self.train),
            held_out=len(self.held_out),
            left_out=self.left_out,
            data_hash=self.data_hash,
            steps=self.steps,
            kept_step=kept_step,
            parameter_hash=parameters,
            device="cpu" if self.on_cpu else torch.cuda.get_device_name(),
            precision=self.precision,
            versions=installed_versions(),
        )


def _taken(out: Path) -> InputError:
    return InputError("is there already and not empty; name another", file=out)


def _finished_before(plan: _Plan, out: Path) -> Alignment:
    """Read the result of this very training: the caller may have been killed since.

    Raises:
        InputError: If something else lies there.
    """
    try:
        found = AlignmentRecord.model_validate_json((out / RECORD_FILE).read_bytes())
        points = read_points(out / LOG_FILE)
    except (OSError, ValueError) as error:
        raise _taken(out) from error
    if found != plan.record(found.kept_step, found.parameter_hash):
        raise _taken(out)
    return Alignment(out, found, tuple(points))


def _check(config: AlignmentConfig, model: OpenedModel) -> None:
    if model.embedded is None:
        return
    if config.lora_rank is not None:
        raise InputError("an adapter is for large models; this one is tuned whole", field="lora")
    if config.weight_decay:
        raise InputError("would change the embedded model's items", field="weight_decay")


def _trained(
    plan: _Plan, kept: TrainingFolder, on_progress: OnProgress
) -> tuple[Any, list[AlignmentPoint], int]:
    config, steps = plan.config, plan.steps
    callback = AlignmentCallback(kept, on_progress, plan.model.embedded)
    trainer = make_trainer(
        config,
        plan.model,
        plan.train,
        plan.held_out,
        kept.path,
        rate=config.rate(plan.tuned),
        steps=steps,
        callback=callback,
        on_reference=lambda: on_progress(0, steps),
    )
    last = kept.last()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if callback.stopped_by is not None:
        raise callback.stopped_by
    state = trainer.state
    best = state.best_global_step if config.keep_best and plan.held_out else None
    return trainer, points_from_log(state.log_history), best or state.global_step
