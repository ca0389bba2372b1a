"""Writes a tuned model, with a record of what it was made of."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open

from agentrec.embedded_model.folder import CatalogModel, load_model, save_model
from agentrec.errors import InputError
from agentrec.policies.alignment.config import AlignmentConfig, Tuned
from agentrec.policies.alignment.models import HUB, OpenedModel

RECORD_FILE = "alignment.json"
LOG_FILE = "metrics.jsonl"
_VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


class AlignmentRecord(BaseModel):
    """What a tuned model was made of; ``alignment.json`` beside it.

    Attributes:
        format: Version of this format.
        config: The hyper-parameters as given.
        tuned: Which parameters were changed.
        learning_rate: The highest step size.
        base: What was tuned, as named.
        base_hash: SHA-256 over its files.
        pairs: How many pairs were given.
        trained_on: How many examples were learnt from: pairs, or chosen texts.
        held_out: How many were held out to evaluate on.
        left_out: How many pairs could not be used, by reason.
        data_hash: SHA-256 over the tokens of both.
        steps: Optimiser steps.
        kept_step: The step whose state is the result.
        parameter_hash: SHA-256 over all that was tuned, equal for equal results.
        device: Where it was computed.
        precision: In which precision.
        versions: Of the packages that decide the numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = "agentrec-alignment-1"
    config: AlignmentConfig
    tuned: Tuned
    learning_rate: float
    base: str
    base_hash: str
    pairs: int
    trained_on: int
    held_out: int
    left_out: Mapping[str, int]
    data_hash: str
    steps: int
    kept_step: int
    parameter_hash: str
    device: str
    precision: str
    versions: Mapping[str, str]


def installed_versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return {name: importlib.metadata.version(name) for name in _VERSIONED}


def parameter_hash(network: Any) -> str:
    """SHA-256 over the names, types, shapes and values of a network's trained parameters.

    Args:
        network: A torch module; parameters without gradient do not count.
    """
    digest = hashlib.sha256()
    trained = {name: one for name, one in network.named_parameters() if one.requires_grad}
    for name in sorted(trained):
        value = trained[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        # As bytes: numpy does not have every type of number that torch has.
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def write_result(
    model: OpenedModel, network: Any, record: AlignmentRecord, log: Path, out: Path
) -> None:
    """Write a tuned model with its record and log; the folder appears whole or not at all.

    Args:
        model: What was tuned.
        network: The tuned network; it must not be used afterwards.
        record: What it was made of.
        log: File with the log of the training.
        out: The folder; it must be missing or empty.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = out.with_name(f".{out.name}-result")
        # Left by a write that was killed.
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            made = scratch / "made"
            if model.embedded is not None:
                _write_embedded(model.embedded, model.folder, network, record, made)
            else:
                _write_causal(model, network, record, made)
            (made / RECORD_FILE).write_text(record.model_dump_json(indent=1), encoding="utf-8")
            shutil.copyfile(log, made / LOG_FILE)
            made.rename(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=out) from error


def _write_embedded(
    base: CatalogModel, folder: Path, network: Any, record: AlignmentRecord, made: Path
) -> None:
    # Into a fresh network: the trained one has another output layer and hooks of libraries.
    fresh = load_model(folder).network
    fresh.transformer.load_state_dict(network.transformer.state_dict())
    name = f"{base.name}-{record.config.method}-{record.parameter_hash[:8]}"
    card_file = folder / "README.md"
    card = card_file.read_text(encoding="utf-8") if card_file.is_file() else f"# {base.name}\n"
    save_model(CatalogModel(name, fresh, base.vocabulary), f"{card}\n{_section(record)}", made)


def _write_causal(model: OpenedModel, network: Any, record: AlignmentRecord, made: Path) -> None:
    made.mkdir()
    if record.tuned == "lora":
        # The adapter names its model by folder or hub name, not by a copy in a cache.
        named = model.name.removeprefix(HUB)
        for adapter in network.peft_config.values():
            adapter.base_model_name_or_path = named
        network.save_pretrained(made, save_embedding_layers=False)
    else:
        network.to(_stored_dtype(model.folder)).save_pretrained(made)
        model.tokenizer.save_pretrained(made)
    card = f"---\nlibrary_name: {'peft' if record.tuned == 'lora' else 'transformers'}\n"
    named = json.dumps(record.base.removeprefix(HUB))
    card += f"base_model: {named}\n---\n# {record.base}, tuned\n\n{_section(record)}"
    (made / "README.md").write_text(card, encoding="utf-8")


def _stored_dtype(folder: Path) -> torch.dtype:
    """Type in which a model's weights were stored; they were computed in 32 bits."""
    with safe_open(min(folder.glob("*.safetensors")), framework="pt") as weights:
        kept = weights.get_slice(min(weights.keys())).get_dtype()
    return _DTYPES.get(kept, torch.float32)


def _section(record: AlignmentRecord) -> str:
    what = {
        "dpo": "Direct Preference Optimization (arXiv 2305.18290)",
        "rft": "rejection-sampling fine-tuning: supervised, on the best of several texts",
    }[record.config.method]
    return f"""## Tuned on preferences
{what}, on {record.trained_on} examples out of {record.pairs} pairs of texts about what users
prefer; {record.held_out} more were only looked at. Taken after step {record.kept_step} of
{record.steps}. Settings, data hash and versions are in `{RECORD_FILE}`, every step in
`{LOG_FILE}`.
"""
