"""What a tuned model was made of."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from agentrec.policies.alignment.config import AlignmentConfig, Tuned

RECORD_FILE = "alignment.json"
LOG_FILE = "metrics.jsonl"
_VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


class AlignmentRecord(BaseModel):
    """What lies beside a tuned model as ``alignment.json``.

    Attributes:
        format: Which form this is in.
        config: The hyper-parameters as given.
        tuned: What was changed.
        learning_rate: The step size that came of them.
        base: What was tuned, as named.
        base_hash: SHA-256 over its files.
        pairs: How many pairs were given.
        trained_on: How many examples were learnt from: pairs, or chosen texts.
        held_out: How many were kept out to look at.
        left_out: How many pairs could not be used, by reason.
        data_hash: SHA-256 over the tokens of both.
        steps: Optimiser steps.
        kept_step: After how many of them the result was taken.
        parameter_hash: SHA-256 over all that was tuned, equal for equal results.
        device: What was computed on.
        precision: What was computed in.
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
    """SHA-256 over the names, types, shapes and values of what was trained in a network.

    Args:
        network: A torch module; parameters that take no gradient do not count.
    """
    digest = hashlib.sha256()
    trained = {name: one for name, one in network.named_parameters() if one.requires_grad}
    for name in sorted(trained):
        value = trained[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        # As bytes: numpy does not have every type of number that torch has.
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
