"""What happens beside the steps of a training: telling how far it is, keeping what is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.network.symmetry import symmetric_gradients
from agentrec.errors import InputError
from agentrec.policies.alignment.training_folder import TrainingFolder
from agentrec.policies.alignment.training_log import (
    AlignmentPoint,
    append_point,
    points_of,
    write_points,
)

OnProgress = Callable[[int, int], None]
"""Called with optimiser steps done and in all; raising in it stops the training."""


class TrainingWatch(TrainerCallback):
    """Called by the trainer between its steps.

    Args:
        folder: Where the training is kept.
        on_progress: Told after every step.
        embedded: The embedded model, if that is what is tuned.

    Attributes:
        stopped_by: What ``on_progress`` raised. The trainer then writes a checkpoint and returns,
            and it is for the caller to raise it.
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
        write_points(self._folder.log, points_of(state.log_history))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the embedded model's items what they are and its handles alike."""
        if self._embedded is not None:
            vocabulary = self._embedded.vocabulary
            symmetric_gradients(self._embedded.network, vocabulary.first_item)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step."""
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
            InputError: If the loss is no number any more. No checkpoint of such a state is written.
        """
        point = AlignmentPoint.of(state.log_history[-1])
        if point is None:
            return
        if not math.isfinite(point.loss):
            raise InputError(
                f"step {point.step} came to a loss of {point.loss}; a smaller one may help",
                field="learning_rate",
            )
        append_point(self._folder.log, point)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint is written whole."""
        self._folder.keep(state.global_step, state.best_global_step)
