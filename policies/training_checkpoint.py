"""A training on disk: stopped anywhere, it resumes from its last checkpoint."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.errors import InputError
from agentrec.policies.policy_files import read_policy, write_policy

Tensors = Mapping[str, torch.Tensor]
Progress = TypeVar("Progress", bound=BaseModel)


class _Checkpoint(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    progress: dict[str, Any]


class ResumableTraining(ABC, Generic[Progress]):
    """Everything that changes while training, so that it can be written and read back.

    A subclass names what it is made of; the optimiser's moments are kept beside that.
    """

    kind: ClassVar[str]
    """Name of the kind of training in the file."""
    progress_model: type[Progress]
    """Model of what is no tensor."""
    optimiser: torch.optim.Optimizer

    @abstractmethod
    def progress(self) -> Progress:
        """Return what is no tensor."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name: parameters and states of generators."""

    @abstractmethod
    def restore(self, progress: Progress, tensors: Tensors) -> None:
        """Take over what ``progress`` and ``tensors`` returned."""

    def save(self, folder: Path, fingerprint: str) -> None:
        """Write a checkpoint; a reader finds the previous one or this one, never a mixture.

        Args:
            folder: Where.
            fingerprint: Of the training; see ``data_fingerprint``.

        Raises:
            OSError: The folder cannot be written.
        """
        moments = {
            f"optimiser.{index}.{name}": torch.as_tensor(one)
            for index, kept in self.optimiser.state_dict()["state"].items()
            for name, one in kept.items()
        }
        arrays = {name: one.numpy() for name, one in {**self.tensors(), **moments}.items()}
        progress = self.progress().model_dump(mode="json")
        write_policy(
            folder, self.kind, _Checkpoint(fingerprint=fingerprint, progress=progress), arrays
        )

    def resume(self, folder: Path, fingerprint: str) -> bool:
        """Take over the checkpoint in a folder.

        Args:
            folder: Where.
            fingerprint: Of the training.

        Returns:
            Whether there was one of this very training. One of another training, or one that
            cannot be read, is ignored.
        """
        try:
            stored = read_policy(folder, self.kind)
            found = stored.parse_description(_Checkpoint)
            if found.fingerprint != fingerprint:
                return False
            progress = self.progress_model.model_validate(found.progress)
        except (InputError, ValidationError):
            return False
        tensors = {name: torch.from_numpy(one) for name, one in stored.tensors.items()}
        self.restore(progress, tensors)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, one in below("optimiser.", tensors).items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = one.clone()
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        return True


def below(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }


def data_fingerprint(
    settings: str, names: Iterable[str], arrays: Iterable[np.ndarray[Any, Any]]
) -> str:
    """Return a hash that is equal only for equal settings and equal data.

    Args:
        settings: All settings.
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
