"""How a trained policy lies on disk: a JSON description and the safetensors file it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from agentrec.atomic_files import write_atomically
from agentrec.errors import InputError
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.training_curve import CurvePoint

DESCRIPTION_FILE = "policy.json"
_FORMAT = "agentrec-ppo-policy-1"


class PolicyDescription(BaseModel):
    """What the numbers of a policy mean.

    Attributes:
        config: What it was trained with; decides the shapes of the networks.
        hint_ids: The trained hints, options ``1 .. num_hints``.
        state_dim: Width of a raw state.
        seed: What it was trained with.
        curve: How training went.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: PPOConfig
    hint_ids: tuple[str, ...]
    state_dim: int = Field(ge=1)
    seed: int
    curve: tuple[CurvePoint, ...] = ()


class _DescriptionFile(PolicyDescription):
    """The description as written, with the weights it belongs to."""

    format: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def write_policy(
    folder: Path, description: PolicyDescription, tensors: dict[str, torch.Tensor]
) -> None:
    """Write a policy so that a reader finds the previous one or this one, never a mixture.

    The weights come first, under a name made from their content; renaming the description into
    place is what publishes them. Weights no description names any more are removed last.
    """
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    weights = _weights_file(folder, digest)
    write_atomically(weights, content)
    document = _DescriptionFile(
        **dict(description), format=_FORMAT, weights_sha256=digest
    ).model_dump_json(indent=1)
    write_atomically(folder / DESCRIPTION_FILE, document.encode())
    for old in folder.glob("weights-*.safetensors"):
        if old != weights:
            old.unlink(missing_ok=True)


def read_policy(folder: Path) -> tuple[PolicyDescription, dict[str, torch.Tensor], Path]:
    """Read what ``write_policy`` wrote.

    Returns:
        The description, the tensors by name, and the file those came from.

    Raises:
        InputError: A file is missing, broken, or not the one that belongs to the other.
    """
    file = folder / DESCRIPTION_FILE
    try:
        document = _DescriptionFile.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError("there is no trained policy here", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise InputError(first["msg"], file=file, field=field) from error
    if document.format != _FORMAT:
        raise InputError(
            f"is {document.format!r}; {_FORMAT!r} can be read", file=file, field="format"
        )
    weights = _weights_file(folder, document.weights_sha256)
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise InputError("the policy's weights cannot be read", file=weights) from error
    if hashlib.sha256(content).hexdigest() != document.weights_sha256:
        raise InputError("is not the file the policy was saved with (hash differs)", file=weights)
    try:
        return document, load(content), weights
    except SafetensorError as error:
        raise InputError(f"is not a whole safetensors file ({error})", file=weights) from error


def _weights_file(folder: Path, digest: str) -> Path:
    return folder / f"weights-{digest[:16]}.safetensors"
