"""TRL's trainers for pairs whose tokens are known, and what happens beside their steps."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from warnings import catch_warnings, filterwarnings

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching.training import symmetric_gradients
from agentrec.errors import InputError
from agentrec.llm.quiet_transformers import no_progress_bars
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.models import OpenedModel, import_extra
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

_IGNORED_LABEL = -100
_VERBOSE_LOGGERS = ("trl", "peft", "accelerate", "datasets")


class AlignmentCallback(TrainerCallback):
    """Called by the trainer between its steps.

    Args:
        folder: Where the training is kept.
        on_progress: Called after every step.
        embedded: The embedded model, if that is what is tuned.

    Attributes:
        stopped_by: What ``on_progress`` raised. The trainer then writes a checkpoint and returns;
            the caller has to raise it.
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
        """Report the step."""
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
            InputError: If the loss is no longer a number. No checkpoint of such a state is written.
        """
        point = AlignmentPoint.of(state.log_history[-1])
        if point is None:
            return
        if not math.isfinite(point.loss):
            raise InputError(
                f"the loss is {point.loss} at step {point.step}; try a smaller learning rate",
                field="learning_rate",
            )
        append_point(self._folder.log, point)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark a checkpoint as complete."""
        self._folder.keep(state.global_step, state.best_global_step)


def make_trainer(
    config: AlignmentConfig,
    model: OpenedModel,
    train: Sequence[Example],
    held_out: Sequence[Example],
    folder: Path,
    *,
    rate: float,
    steps: int,
    callback: TrainerCallback,
    on_reference: Callable[[], None],
) -> Any:
    """Set up a trainer; for DPO this computes the reference log-probabilities.

    These are kept in the folder, so that a resumed training finds them.

    Args:
        config: The hyper-parameters.
        model: What is tuned; its network is changed.
        train: What to learn from, at least one.
        held_out: What to evaluate on; may be none.
        folder: Where the training is kept.
        rate: Highest step size.
        steps: Optimiser steps in all.
        callback: Called between steps.
        on_reference: Called with each batch of the reference log-probabilities; raising in it
            stops that.

    Returns:
        A ``transformers.Trainer``.
    """
    trl = import_extra("trl")
    evaluates = bool(held_out)
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
        "bf16": compute_precision(config, cpu=cpu) == "bfloat16",
        "use_cpu": cpu,
        _checkpointing_option(trl): config.gradient_checkpointing,
        "seed": config.seed,
        "data_seed": config.seed,
        "max_length": None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.check_every,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": config.check_every if evaluates else None,
        "prediction_loss_only": True,
        "load_best_model_at_end": evaluates and config.keep_best,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": not cpu,
        "push_to_hub": False,
    }
    row = _dpo_row if config.method == "dpo" else _rft_row
    given: dict[str, Any] = {
        "model": model.network,
        "train_dataset": _dataset(train, row, folder / "train"),
        "eval_dataset": _dataset(held_out, row, folder / "held_out") if evaluates else None,
        "peft_config": _adapter(config),
        "callbacks": [callback],
    }
    if config.method == "rft":
        arguments["dataset_kwargs"] = {"skip_prepare_dataset": True}
        given["processing_class"] = model.tokenizer
        trainer = trl.SFTTrainer(args=trl.SFTConfig(**arguments), **given)
    else:
        arguments |= {
            "beta": config.beta,
            "loss_type": ["sigmoid", "sft"] if config.nll_weight else ["sigmoid"],
            "loss_weights": [1.0, config.nll_weight] if config.nll_weight else None,
            "precompute_ref_log_probs": True,
        }
        given["processing_class"] = _TokenNumbers.of(model.tokenizer)
        given["data_collator"] = _collator(model.tokenizer.pad_token_id, on_reference)
        trainer = trl.DPOTrainer(args=trl.DPOConfig(**arguments), **given)
    # It would print every row.
    trainer.remove_callback(PrinterCallback)
    return trainer


def compute_precision(config: AlignmentConfig, *, cpu: bool) -> str:
    """Return the precision to compute in: ``float32`` or ``bfloat16``."""
    if config.precision != "auto":
        return config.precision
    return "float32" if cpu or not torch.cuda.is_bf16_supported() else "bfloat16"


def _checkpointing_option(trl: Any) -> str:
    """Name of the option in the installed version; TRL's own default would switch it on."""
    new = "activation_checkpointing"
    return new if hasattr(trl.DPOConfig, new) else "gradient_checkpointing"


class _TokenNumbers(PreTrainedTokenizerFast):
    """Reads ``"12 5 7"`` as the tokens 12, 5 and 7.

    TRL's DPO trainer takes text alone, and the embedded model's prompts are no text. So pairs are
    passed as numbers, at the cost of one pass over them before training.
    """

    eos_token = ""
    """The texts end as they should: TRL would add it."""

    @classmethod
    def of(cls, tokenizer: Any) -> _TokenNumbers:
        """Make one for the vocabulary of a tokenizer, with the same special tokens."""
        vocabulary = {str(number): number for number in range(len(tokenizer))}
        numbers = Tokenizer(WordLevel(vocabulary, unk_token="0"))  # noqa: S106
        numbers.pre_tokenizer = WhitespaceSplit()
        made = cls(tokenizer_object=numbers)
        made.same_special_tokens_as = tokenizer
        return made

    @property
    def pad_token_id(self) -> int | None:
        """That of the tokenizer; the trainer writes it into the model's configuration."""
        return cast("int | None", self.same_special_tokens_as.pad_token_id)

    @property
    def bos_token_id(self) -> int | None:
        """As ``pad_token_id``."""
        return cast("int | None", self.same_special_tokens_as.bos_token_id)

    @property
    def eos_token_id(self) -> int | None:
        """As ``pad_token_id``."""
        return cast("int | None", self.same_special_tokens_as.eos_token_id)


def _collator(pad: int, on_batch: Callable[[], None]) -> Callable[[list[dict[str, Any]]], Any]:
    inner = import_extra("trl.trainer.dpo_trainer").DataCollatorForPreference(pad_token_id=pad)

    def collate(rows: list[dict[str, Any]]) -> Any:
        if "ref_chosen_logps" not in rows[0]:
            on_batch()
        return inner(rows)

    return collate


def _adapter(config: AlignmentConfig) -> Any:
    if config.lora_rank is None:
        return None
    return import_extra("peft").LoraConfig(
        r=config.lora_rank,
        # Whole, because not every program that loads adapters takes another number.
        lora_alpha=max(1, round(config.lora_scale * config.lora_rank)),
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _dataset(
    examples: Sequence[Example], row: Callable[[Example], dict[str, Any]], folder: Path
) -> Any:
    """Put examples into a data set on disk; TRL keeps what it computes of them beside it."""
    datasets = import_extra("datasets")
    if not folder.is_dir():
        made = datasets.Dataset.from_list([row(example) for example in examples])
        scratch = folder.with_name(f".{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        made.save_to_disk(str(scratch))
        scratch.rename(folder)
    return datasets.load_from_disk(str(folder))


def _dpo_row(example: Example) -> dict[str, str]:
    """See ``_TokenNumbers``; the prompt ends in a space, so that its last number stays whole."""
    prompt, chosen, rejected = (
        " ".join(map(str, ids))
        for ids in (example.prompt_ids, example.chosen_ids, example.rejected_ids)
    )
    return {"prompt": f"{prompt} ", "chosen": chosen, "rejected": rejected}


def _rft_row(example: Example) -> dict[str, list[int]]:
    prompt, chosen = list(example.prompt_ids), list(example.chosen_ids)
    return {"input_ids": prompt + chosen, "labels": [_IGNORED_LABEL] * len(prompt) + chosen}


@contextmanager
def restored_process_state() -> Iterator[None]:
    """Put back everything of the process that training changes.

    That is random states, environment variables, levels of logging, warnings and progress bars.
    Within, TRL reports no use: it reports none where ``CI`` is set, while
    ``HF_HUB_DISABLE_TELEMETRY`` only counts before the first import.

    Raises:
        InputError: If the extra is not installed.
    """
    with _quiet(), no_progress_bars(), torch.random.fork_rng():
        plain, numpys, environment = random.getstate(), np.random.get_state(), dict(os.environ)
        os.environ |= {"TQDM_DISABLE": "1", "CI": "1"}
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numpys)
            for name in set(os.environ) - set(environment):
                del os.environ[name]
            os.environ.update(environment)


@contextmanager
def _quiet() -> Iterator[None]:
    bars = import_extra("datasets.utils")
    had_bars, verbosity = (
        not bars.are_progress_bars_disabled(),
        transformers_logging.get_verbosity(),
    )
    loggers = [logging.getLogger(name) for name in _VERBOSE_LOGGERS]
    levels = [logger.level for logger in loggers]
    bars.disable_progress_bars()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with catch_warnings():
            # The libraries use one another's deprecated names.
            for category in (FutureWarning, DeprecationWarning):
                filterwarnings("ignore", category=category)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            bars.enable_progress_bars()
