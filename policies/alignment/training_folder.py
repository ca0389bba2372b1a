"""A training on disk: stopped anywhere, it goes on from the last checkpoint that is whole.

The checkpoints are the library's own. Weights are safetensors; ``optimizer.pt``, ``scheduler.pt``
and ``rng_state.pth`` are in torch's format, which transformers reads with ``weights_only=True``
(tensors, numbers and, for the random state, numpy arrays; nothing is run), and
``training_args.bin``, a pickle, is written and never read.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from agentrec.atomic_files import holds_nothing, write_atomically
from agentrec.errors import InputError

_MARK = "whole.json"
_PREFIX = "checkpoint-"


class TrainingFolder:
    """What one training keeps.

    Args:
        path: The folder; what lies there of another training is replaced.
        training: Tells this training from any other: data, model, settings and versions.

    Raises:
        InputError: If something else lies there, or the folder cannot be written.
    """

    def __init__(self, path: Path, training: str) -> None:
        self.path = path
        self._described = path / "training.json"
        try:
            if path.exists() and not self._described.is_file() and not holds_nothing(path):
                raise InputError("holds something else than a training; name another", file=path)
            if _read(self._described) != training:
                self.discard()
                write_atomically(self._described, json.dumps({"training": training}).encode())
            self._drop_halves()
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=path) from error

    @property
    def log(self) -> Path:
        """Where points go."""
        return self.path / "metrics.jsonl"

    def last(self) -> Path | None:
        """The newest checkpoint."""
        whole = self._whole()
        return whole[max(whole)] if whole else None

    def keep(self, step: int, best: int | None) -> None:
        """Mark a checkpoint that is written as whole, and drop older ones.

        Args:
            step: Its step.
            best: Step of the one that may be the result, if there is one.
        """
        mark = self.path / f"{_PREFIX}{step}" / _MARK
        write_atomically(mark, json.dumps({"step": step}).encode())
        for other, folder in self._whole().items():
            if other not in (step, best):
                _drop(folder)

    def discard(self) -> None:
        """Forget it: the training is over."""
        # What says that it is one goes last, lest a kill leave a folder of something else.
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._described:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _whole(self) -> dict[int, Path]:
        found = {}
        for folder in self.path.glob(f"{_PREFIX}*"):
            number = folder.name.removeprefix(_PREFIX)
            if number.isdecimal() and (folder / _MARK).is_file():
                found[int(number)] = folder
        return found

    def _drop_halves(self) -> None:
        whole = set(self._whole().values())
        for folder in self.path.glob(f"{_PREFIX}*"):
            if folder not in whole:
                shutil.rmtree(folder, ignore_errors=True)


def _drop(folder: Path) -> None:
    # The mark first: what is deleted in part must not be taken for whole.
    (folder / _MARK).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read(described: Path) -> str | None:
    try:
        kept = json.loads(described.read_text(encoding="utf-8"))
        return str(kept["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
