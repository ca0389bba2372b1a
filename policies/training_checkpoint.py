"""A training that was stopped, on disk: found again by what it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from agentrec.errors import InputError
from agentrec.policies.policy_files import read_policy, write_policy

Tensors = Mapping[str, torch.Tensor]


class Checkpoint(BaseModel):
    """What every state says of itself.

    Attributes:
        training: Hash of what the training is made of; see ``fingerprint``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: str


_State = TypeVar("_State", bound=Checkpoint)


def write_checkpoint(
    folder: Path, kind: str, state: Checkpoint, tensors: Tensors, optimiser: torch.optim.Optimizer
) -> None:
    """Write a state; a reader finds the previous one or this one, never a mixture.

    Args:
        folder: Where.
        kind: Whose it is.
        state: What is no tensor.
        tensors: What is, by name.
        optimiser: Its moments are written too.

    Raises:
        OSError: The folder cannot be written.
    """
    moments = {
        f"optimiser.{at}.{name}": torch.as_tensor(one)
        for at, kept in optimiser.state_dict()["state"].items()
        for name, one in kept.items()
    }
    arrays = {name: one.numpy() for name, one in {**tensors, **moments}.items()}
    write_policy(folder, kind, state, arrays)


def read_checkpoint(
    folder: Path, kind: str, model: type[_State], training: str
) -> tuple[_State, dict[str, torch.Tensor]] | None:
    """Read what ``write_checkpoint`` wrote.

    Args:
        folder: Where.
        kind: Whose it is.
        model: Of the state.
        training: What the training is made of.

    Returns:
        The state and its tensors; ``None`` for the state of another training, or none that can be
        read: then a training begins anew.
    """
    try:
        stored = read_policy(folder, kind)
        state = stored.parse_description(model)
    except InputError:
        return None
    if state.training != training:
        return None
    return state, {name: torch.from_numpy(one) for name, one in stored.tensors.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give an optimiser the moments that are among a state's tensors."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, one in below("optimiser.", tensors).items():
        place, _, moment = name.partition(".")
        moments.setdefault(int(place), {})[moment] = one.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def below(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }


def fingerprint(settings: str, names: Iterable[str], arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    """What a training is made of, as a hash: equal only for equal settings and equal data.

    Args:
        settings: All that is set.
        names: Ids, in the order in which they count.
        arrays: All other data.
    """
    digest = hashlib.sha256(settings.encode())
    for name in names:
        encoded = name.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded)
    for array in arrays:
        digest.update(f"{array.dtype}{list(array.shape)}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
