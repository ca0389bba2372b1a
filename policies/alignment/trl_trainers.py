"""TRL's trainers, set up for pairs whose tokens are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.examples import Example
from agentrec.policies.alignment.extra import needed
from agentrec.policies.alignment.models import OpenedModel

_NOT_LOOKED_AT = -100


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
        "labels": [_NOT_LOOKED_AT] * len(prompt) + chosen,
    }
