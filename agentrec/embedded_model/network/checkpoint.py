"""An interrupted training of the embedded model, on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import GPT2LMHeadModel

from agentrec.atomic_files import write_atomically

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Checkpoint:
    """Keeps network, optimiser and losses in one file.

    Args:
        path: The file; its name has to tell one training from another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(
        self, network: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, losses: list[float]
    ) -> None:
        """Write the state after ``len(losses)`` steps."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in network.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for moment, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{moment}.{name}"] = value
        write_atomically(self.path, save(tensors, {"losses": json.dumps(losses)}))

    def restore(
        self, network: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, losses: list[float]
    ) -> int:
        """Bring back what was kept.

        Returns:
            The number of steps done; 0, with nothing changed, where nothing usable was kept.
        """
        if not self.path.is_file():
            return 0
        try:
            with safe_open(self.path, framework="pt") as kept:
                known = [float(loss) for loss in json.loads(kept.metadata()["losses"])]
                tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, TypeError, OSError):
            return 0
        parameters = dict(network.named_parameters())
        if not all(_fits(tensors, name, value) for name, value in parameters.items()):
            return 0
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"network.{name}"])
                if f"optimizer.step.{name}" in tensors:
                    optimizer.state[parameter] = {
                        moment: tensors[f"optimizer.{moment}.{name}"]
                        for moment in ("step", *_MOMENTS)
                    }
        losses.extend(known)
        return len(losses)

    def discard(self) -> None:
        """Forget it: the training is over."""
        self.path.unlink(missing_ok=True)


def _fits(tensors: Mapping[str, torch.Tensor], name: str, parameter: torch.nn.Parameter) -> bool:
    """Whether all that was kept of one parameter is there and of its shape.

    What no step has changed yet has no optimiser state.
    """
    shapes = {f"optimizer.{moment}.{name}": parameter.shape for moment in _MOMENTS}
    shapes[f"optimizer.step.{name}"] = torch.Size([])
    kept = tensors.get(f"network.{name}")
    if kept is None or kept.shape != parameter.shape:
        return False
    known = [key for key in shapes if key in tensors]
    return not known or all(key in tensors and tensors[key].shape == shapes[key] for key in shapes)
