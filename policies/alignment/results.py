"""Writing what was tuned: a folder of the same kind as was given, or of an adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from agentrec.embedded_model.folder import CatalogModel, load_model, save_model
from agentrec.errors import InputError
from agentrec.policies.alignment.models import HUB, OpenedModel
from agentrec.policies.alignment.record import LOG_FILE, RECORD_FILE, AlignmentRecord

_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def write_result(
    model: OpenedModel, network: Any, record: AlignmentRecord, log: Path, out: Path
) -> None:
    """Write a tuned model with its record and log; the folder appears whole or not at all.

    Args:
        model: What was tuned.
        network: The network as it came out, which is not to be used any more afterwards.
        record: What it was made of.
        log: File with the points of the training.
        out: The folder; nothing or an empty one may be there.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = out.with_name(f".{out.name}-result")
        # Of a writing that was killed.
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
    # Into a network as it was read: the trained one has another output layer and library hooks.
    fresh = load_model(folder).network
    fresh.transformer.load_state_dict(network.transformer.state_dict())
    name = f"{base.name}-{record.config.method}-{record.parameter_hash[:8]}"
    card_file = folder / "README.md"
    card = card_file.read_text(encoding="utf-8") if card_file.is_file() else f"# {base.name}\n"
    save_model(CatalogModel(name, fresh, base.vocabulary), f"{card}\n{_section(record)}", made)


def _write_causal(model: OpenedModel, network: Any, record: AlignmentRecord, made: Path) -> None:
    made.mkdir()
    if record.tuned == "lora":
        # Whoever loads the adapter is told where its model is; a copy in a cache is no such place.
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
    """What a model's weights are stored in; they were computed with in 32 bits."""
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
