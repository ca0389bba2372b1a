"""What happens beside the steps of a training: telling how far it is, keeping what is done."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching.training import symmetric_gradients
from agentrec.errors import InputError
from agentrec.llm.providers.quiet_transformers import no_progress_bars
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.models import OpenedModel, needed
from agentrec.policies.alignment.pair_encoding import Example
from agentrec.policies.alignment.training_folder import (
    AlignmentPoint,
    TrainingFolder,
    append_point,
    points_from_log,
    write_points,
)

OnProgress = Callable[[int, int], None]
"""Called with optimiser steps done and in all; raising in it stops the training."""


class AlignmentCallback(TrainerCallback):
    """Called by the trainer between its steps.

    Args:
        folder: Where the training is kept.
        on_progress: Told after every step.
        embedded: The embedded model, if that is what is tuned.

    Attributes:
        stopped_by: What ``on_progress`` raised. The trainer then writes a checkpoint and returns,
            and it is for the caller to raise it.
    """

    def __init__(
        self, folder: TrainingFolder, on_progress: OnProgress, embedded: CatalogModel | None
    ) -> None:
        self._folder = folder
        self._on_progress = on_progress
        self._embedded = embedded
        self.stopped_by: BaseException | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the log; after a stop, with what was logged up to the checkpoint."""
        write_points(self._folder.log, points_from_log(state.log_history))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the embedded model's items what they are and its handles alike."""
        if self._embedded is not None:
            vocabulary = self._embedded.vocabulary
            symmetric_gradients(self._embedded.network, vocabulary.first_item)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step."""
        try:
            self._on_progress(state.global_step, state.max_steps)
        except BaseException as error:
            # Not raised here: the trainer would end without a checkpoint of this step.
            self.stopped_by = error
            control.should_save = True
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log the row that was added last.

        Raises:
            InputError: If the loss is no number any more. No checkpoint of such a state is written.
        """
        point = AlignmentPoint.of(state.log_history[-1])
        if point is None:
            return
        if not math.isfinite(point.loss):
            raise InputError(
                f"step {point.step} came to a loss of {point.loss}; a smaller one may help",
                field="learning_rate",
            )
        append_point(self._folder.log, point)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint is written whole."""
        self._folder.keep(state.global_step, state.best_global_step)


_TALKATIVE = ("trl", "peft", "accelerate", "datasets")


@contextmanager
def restored_process_state() -> Iterator[None]:
    """Give back everything of the process that training would leave changed.

    Random states, environment variables, levels of logging, warnings and progress bars are
    afterwards what they were. Within, nothing reaches for a hub or reports home: TRL would, at
    every start.

    Raises:
        InputError: If the extra is not installed.
    """
    with ExitStack() as kept:
        kept.enter_context(_random_states())
        kept.enter_context(_environment())
        kept.enter_context(_quiet())
        kept.enter_context(_no_hub())
        kept.enter_context(no_progress_bars())
        yield


@contextmanager
def _random_states() -> Iterator[None]:
    plain, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numpys)


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        os.environ["TQDM_DISABLE"] = "1"
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as theirs

    utils = needed("datasets.utils")
    bars = utils.are_progress_bars_disabled()
    verbosity = theirs.get_verbosity()
    loggers = {name: logging.getLogger(name) for name in _TALKATIVE}
    levels = {name: logger.level for name, logger in loggers.items()}
    utils.disable_progress_bars()
    theirs.set_verbosity_error()  # type: ignore[no-untyped-call]
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        with catch_warnings():
            # What the libraries advise one another to call by a new name.
            for category in (FutureWarning, DeprecationWarning):
                filterwarnings("ignore", category=category)
            yield
    finally:
        for name, level in levels.items():
            loggers[name].setLevel(level)
        theirs.set_verbosity(verbosity)
        if not bars:
            utils.enable_progress_bars()


@contextmanager
def _no_hub() -> Iterator[None]:
    # The variables of the environment are read when the package is imported, which was earlier.
    constants = needed("huggingface_hub").constants
    names = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
    before = {name: getattr(constants, name) for name in names}
    try:
        for name in names:
            setattr(constants, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)


_IGNORED_LABEL = -100


def make_trainer(
    config: AlignmentConfig,
    model: OpenedModel,
    train: Sequence[Example],
    held_out: Sequence[Example],
    folder: Path,
    *,
    rate: float,
    steps: int,
    callback: Any,
    on_reference: Callable[[], None],
) -> Any:
    """Set up a trainer; for DPO this computes the reference log-probabilities.

    These are kept in the folder, so that a training that goes on finds them.

    Args:
        config: The hyper-parameters.
        model: What is tuned; its network is changed.
        train: What to learn from, at least one.
        held_out: What to look at; may be none.
        folder: Where the training is kept.
        rate: Highest step size.
        steps: Optimiser steps in all.
        callback: Called between steps.
        on_reference: Called with each batch of the reference log-probabilities; raising in it
            stops that.

    Returns:
        A ``transformers.Trainer``.
    """
    trl = needed("trl")
    looks = bool(held_out)
    cpu = model.embedded is not None or not torch.cuda.is_available()
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": config.batch_size // config.accumulation,
        "per_device_eval_batch_size": config.batch_size // config.accumulation,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(config.warm_up * steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.gradient_clip,
        "optim": "adamw_torch",
        "bf16": computed_in(config, cpu=cpu) == "bfloat16",
        "use_cpu": cpu,
        _checkpointing(trl): config.gradient_checkpointing,
        "seed": config.seed,
        "data_seed": config.seed,
        "max_length": None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.check_every,
        "eval_strategy": "steps" if looks else "no",
        "eval_steps": config.check_every if looks else None,
        "prediction_loss_only": True,
        "load_best_model_at_end": looks and config.keep_best,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": not cpu,
        "push_to_hub": False,
    }
    rows = _dpo_row if config.method == "dpo" else _rft_row
    given: dict[str, Any] = {
        "model": model.network,
        "processing_class": model.tokenizer,
        "train_dataset": _dataset(train, rows, folder / "train"),
        "eval_dataset": _dataset(held_out, rows, folder / "held_out") if looks else None,
        "peft_config": _adapter(config),
        "callbacks": [callback],
    }
    if config.method == "rft":
        arguments["dataset_kwargs"] = {"skip_prepare_dataset": True}
        trainer = trl.SFTTrainer(args=trl.SFTConfig(**arguments), **given)
    else:
        arguments |= {
            "beta": config.beta,
            "loss_type": ["sigmoid", "sft"] if config.nll_weight else ["sigmoid"],
            "loss_weights": [1.0, config.nll_weight] if config.nll_weight else None,
            "precompute_ref_log_probs": True,
        }
        given["data_collator"] = _collator(model.tokenizer.pad_token_id, on_reference)
        trainer = _dpo_trainer(trl)(args=trl.DPOConfig(**arguments), **given)
    # It would print every row.
    trainer.remove_callback(PrinterCallback)
    return trainer


def computed_in(config: AlignmentConfig, *, cpu: bool) -> str:
    """The precision that ``auto`` means here."""
    if config.precision != "auto":
        return config.precision
    return "float32" if cpu or not torch.cuda.is_bf16_supported() else "bfloat16"


def _checkpointing(trl: Any) -> str:
    """What the installed version calls it; TRL's own default would switch it on."""
    new = "activation_checkpointing"
    return new if hasattr(trl.DPOConfig, new) else "gradient_checkpointing"


def _dpo_trainer(trl: Any) -> Any:
    class DPOTrainerOfTokens(trl.DPOTrainer):  # type: ignore[misc]
        """Takes pairs as token ids: the embedded model's prompts are no text."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    return DPOTrainerOfTokens


def _collator(pad: int, on_batch: Callable[[], None]) -> Callable[[list[dict[str, Any]]], Any]:
    inner = needed("trl.trainer.dpo_trainer").DataCollatorForPreference(pad_token_id=pad)

    def collate(rows: list[dict[str, Any]]) -> Any:
        if "ref_chosen_logps" not in rows[0]:
            on_batch()
        return inner(rows)

    return collate


def _adapter(config: AlignmentConfig) -> Any:
    if config.lora_rank is None:
        return None
    return needed("peft").LoraConfig(
        r=config.lora_rank,
        # Whole, because not every program that loads adapters takes another number.
        lora_alpha=max(1, round(config.lora_scale * config.lora_rank)),
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _dataset(
    examples: Sequence[Example], row: Callable[[Example], dict[str, list[int]]], folder: Path
) -> Any:
    """Examples as a data set on disk: beside it TRL keeps what it computes of them."""
    datasets = needed("datasets")
    if not folder.is_dir():
        made = datasets.Dataset.from_list([row(example) for example in examples])
        scratch = folder.with_name(f".{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        made.save_to_disk(str(scratch))
        scratch.rename(folder)
    return datasets.load_from_disk(str(folder))


def _dpo_row(example: Example) -> dict[str, list[int]]:
    return {
        "prompt_ids": list(example.prompt_ids),
        "chosen_ids": list(example.chosen_ids),
        "rejected_ids": list(example.rejected_ids),
    }


def _rft_row(example: Example) -> dict[str, list[int]]:
    prompt, chosen = list(example.prompt_ids), list(example.chosen_ids)
    return {
        "input_ids": prompt + chosen,
        "labels": [_IGNORED_LABEL] * len(prompt) + chosen,
    }
