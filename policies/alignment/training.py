"""Tunes a language model on preference pairs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
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
    Examples,
    distinct_chosen,
    encode_pairs,
    examples_hash,
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


@dataclass(frozen=True)
class Alignment:
    """A model that was tuned.

    Attributes:
        folder: Where it lies.
        record: What it was made of.
        points: How the training went.
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
    """Tune a model on pairs, or go on where that was stopped.

    Blocks for as long as the training takes. Same pairs, model, settings, versions and machine:
    same parameters, also where the training was stopped or killed and went on. The random states
    of the process are afterwards what they were, and nothing beyond this computer is asked for
    but a model that is named ``hub:OWNER/NAME``.

    Source: RLRF4Rec; DPO (arXiv 2305.18290), section 4.

    Args:
        pairs: The pairs. Those that cannot be said in the model's tokens are counted in the record
            and left out.
        model: Folder of a causal language model or of the embedded one, or ``hub:OWNER/NAME``.
        out: Where the result goes, whole or not at all: a folder of the same kind, or of an
            adapter where ``lora_rank`` is set. Nothing may be there, or an empty folder, or what
            this very training came to, which is then returned.
        config: The hyper-parameters; ``None`` for the defaults.
        on_progress: Called with optimiser steps done and in all, with 0 done while reference
            log-probabilities are computed. Raising in it stops the training, which is kept.
        checkpoint: Where a training that was stopped is kept and found again, until it is over;
            ``None`` for a hidden folder beside ``out``.

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
        told = ", ".join(f"{count} {why}" for why, count in examples.left_out.items())
        raise InputError(f"no pair can be used ({told or 'there is none'})", field="pairs")
    started = _Started(config, opened, folder_hash(opened.folder), tuple(train), tuple(held_out))
    place = checkpoint or out.with_name(f".{out.name}-training")
    if there:
        done = _done_before(started, len(pairs), examples, out)
        if place.exists():
            TrainingFolder(place, started.hash).discard()
        on_progress(started.steps, started.steps)
        return done
    with restored_process_state():
        kept = TrainingFolder(place, started.hash)
        trainer, points, kept_step = _trained(started, kept, on_progress)
        network = trainer.model
        record = _record(started, len(pairs), examples, kept_step, parameter_hash(network))
        write_result(opened, network, record, kept.log, out)
    kept.discard()
    return Alignment(out, record, tuple(points))


@dataclass(frozen=True)
class _Started:
    """All that decides what comes out."""

    config: AlignmentConfig
    model: OpenedModel
    base_hash: str
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]

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
    def hash(self) -> str:
        described = [
            self.config.model_dump(mode="json"),
            self.base_hash,
            self.data_hash,
            installed_versions(),
            compute_precision(self.config, cpu=self.on_cpu),
        ]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _taken(out: Path) -> InputError:
    return InputError("is there already and not empty; name another", file=out)


def _done_before(started: _Started, given: int, examples: Examples, out: Path) -> Alignment:
    """What this very training came to, as it lies there: whoever asked may have been killed since.

    Raises:
        InputError: If something else lies there.
    """
    try:
        found = AlignmentRecord.model_validate_json((out / RECORD_FILE).read_bytes())
        points = read_points(out / LOG_FILE)
    except (OSError, ValueError) as error:
        raise _taken(out) from error
    if found != _record(started, given, examples, found.kept_step, found.parameter_hash):
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
    started: _Started, kept: TrainingFolder, on_progress: OnProgress
) -> tuple[Any, list[AlignmentPoint], int]:
    config, steps = started.config, started.steps
    watch = AlignmentCallback(kept, on_progress, started.model.embedded)
    trainer = make_trainer(
        config,
        started.model,
        started.train,
        started.held_out,
        kept.path,
        rate=config.rate(started.tuned),
        steps=steps,
        callback=watch,
        on_reference=lambda: on_progress(0, steps),
    )
    last = kept.last()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if watch.stopped_by is not None:
        raise watch.stopped_by
    state = trainer.state
    best = state.best_global_step if config.keep_best and started.held_out else None
    return trainer, points_from_log(state.log_history), best or state.global_step


def _record(
    started: _Started, given: int, examples: Examples, kept_step: int, parameters: str
) -> AlignmentRecord:
    config = started.config
    return AlignmentRecord(
        config=config,
        tuned=started.tuned,
        learning_rate=config.rate(started.tuned),
        base=started.model.name,
        base_hash=started.base_hash,
        pairs=given,
        trained_on=len(started.train),
        held_out=len(started.held_out),
        left_out=examples.left_out,
        data_hash=started.data_hash,
        steps=started.steps,
        kept_step=kept_step,
        parameter_hash=parameters,
        device="cpu" if started.on_cpu else torch.cuda.get_device_name(),
        precision=compute_precision(config, cpu=started.on_cpu),
        versions=installed_versions(),
    )
