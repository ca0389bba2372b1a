"""Trains backbones to predict the next item of sessions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from agentrec.catalog import Catalog
from agentrec.evaluation.metrics import ndcg_of_ranks
from agentrec.policies.sequential.backbones import BACKBONES, PADDING, Backbone, item_scores
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import EpochPoint, SequentialRecommender
from agentrec.policies.sequential.sequences import (
    TrainingSequences,
    history_tensor,
    item_numbers,
    left_padded,
    training_sequences,
)
from agentrec.policies.training_checkpoint import (
    ResumableTraining,
    Tensors,
    below,
    data_fingerprint,
)
from agentrec.sessions import Session

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """Validation sessions: the target and the candidates to tell it from.

    Attributes:
        histories: Item numbers, ``[sessions, length]``, left-padded with 0.
        targets: ``[sessions]``.
        others: The candidates beside the target, ``[sessions, width]``, padded with 0.
    """

    histories: torch.Tensor
    targets: torch.Tensor
    others: torch.Tensor

    @classmethod
    def of(
        cls, sessions: Sequence[Session], numbers: Mapping[str, int], max_length: int
    ) -> ValidationTask:
        """Prepare sessions.

        Args:
            sessions: With targets. A session without candidates has the whole catalogue but its
                history.
            numbers: From ``item_numbers``; candidates without a number are ignored.
            max_length: Longest history to read, at least 1.

        Raises:
            ValueError: If a session's target is missing or not in the catalogue.
        """
        targets, others = [], []
        for session in sessions:
            if session.target is None or session.target not in numbers:
                raise ValueError(
                    f"validation session {session.session_id!r} needs a target that is in the "
                    f"catalogue, not {session.target!r}"
                )
            targets.append(numbers[session.target])
            among = session.candidates or numbers.keys() - set(session.items)
            others.append(sorted({numbers.get(each, PADDING) for each in among} - {targets[-1]}))
        return cls(
            history_tensor(sessions, numbers, max_length),
            torch.tensor(targets, dtype=torch.int64),
            left_padded(others, 1 + len(numbers)),
        )

    def ndcg(self, backbone: Backbone, log_counts: torch.Tensor) -> float:
        """Mean NDCG@10 of the target among the candidates, 0 to 1; of equals, it comes last.

        Args:
            backbone: The network.
            log_counts: See ``item_scores``.
        """
        ranks = []
        for start in range(0, len(self.targets), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scores = item_scores(backbone, self.histories[rows], log_counts)
            others = self.others[rows]
            of_target = scores.gather(1, self.targets[rows, None] - 1)
            of_others = scores.gather(1, (others - 1).clamp(min=0))
            ranks.append(1 + ((of_others >= of_target) & (others != PADDING)).sum(dim=1))
        return float(ndcg_of_ranks(torch.cat(ranks).numpy()).mean())


class _Progress(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    curve: tuple[EpochPoint, ...]
    best_epoch: int
    best_score: float | None


class _TrainingState(ResumableTraining[_Progress]):
    """Everything that changes while training.

    Attributes:
        curve: A point for each epoch done.
        best_epoch: The 1-based epoch to keep; 0 while there is none.
        best_score: Its score; ``None`` while there is none.
        best: Its parameters.
    """

    kind = "sequential-training"
    progress_model = _Progress

    def __init__(
        self,
        backbone: Backbone,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        window: int,
    ) -> None:
        self.backbone = backbone
        self.optimiser = optimiser
        self.generator = generator
        self._window = window
        self.curve: list[EpochPoint] = []
        self.best_epoch = 0
        self.best_score: float | None = None
        self.best: dict[str, torch.Tensor] = {}

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.curve)

    def add_epoch(self, point: EpochPoint) -> None:
        """Add an epoch, and keep its parameters if it is the best so far.

        An epoch is scored by the mean of the last ``window`` evaluations, its own among them: one
        evaluation on a few hundred sessions is mostly luck. Without validation the latest is best.
        """
        self.curve.append(point)
        recent = [each.valid_ndcg for each in self.curve[-self._window :]]
        known = [ndcg for ndcg in recent if ndcg is not None]
        score = float(np.mean(known)) if known else None
        if score is None or self.best_score is None or score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            self.best = {name: one.clone() for name, one in self.backbone.state_dict().items()}

    def progress(self) -> _Progress:
        return _Progress(
            curve=tuple(self.curve), best_epoch=self.best_epoch, best_score=self.best_score
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            **{f"backbone.{name}": one for name, one in self.backbone.state_dict().items()},
            **{f"best.{name}": one for name, one in self.best.items()},
            "generator": self.generator.get_state(),
        }

    def restore(self, progress: _Progress, tensors: Tensors) -> None:
        self.backbone.load_state_dict(below("backbone.", tensors))
        self.best = {name: one.clone() for name, one in below("best.", tensors).items()}
        self.generator.set_state(tensors["generator"])
        self.curve = list(progress.curve)
        self.best_epoch = progress.best_epoch
        self.best_score = progress.best_score


class BackboneTrainer:
    """Next-item training at every position of every session, over the whole catalogue.

    After each epoch the validation sessions are ranked; the best epoch is kept, and training ends
    where none has been better for long. It computes, for seconds to minutes, and never touches
    the global random state or the number of threads.

    Source: SASRec (arXiv 1808.09781), section III-E; GRU4Rec (arXiv 1511.06939), section 3.
    Differs: cross-entropy over the whole catalogue, with the items' popularity taken for granted:
    ``popularity_offset * log(1 + occurrences)`` is added to the logits in training and left out
    of the scores (logit adjustment, arXiv 2007.07314, section 4, equation 10).

    Args:
        kind: The backbone.
        config: The hyper-parameters; ``None`` for the defaults.
        checkpoint: Folder in which a stopped training is found again; ``None`` for none. A
            checkpoint of another training is replaced.
        checkpoint_every: Epochs between two checkpoints, at least 1.

    Raises:
        ValueError: If ``checkpoint_every`` is below 1.
    """

    def __init__(
        self,
        kind: BackboneKind,
        config: BackboneConfig | None = None,
        checkpoint: Path | None = None,
        checkpoint_every: int = 5,
    ) -> None:
        if checkpoint_every < 1:
            raise ValueError(f"checkpoint_every is at least 1, not {checkpoint_every}")
        self.kind = kind
        self.config = config or BackboneConfig()
        self._checkpoint = checkpoint
        self._checkpoint_every = checkpoint_every

    def fit(
        self,
        train: Sequence[Session],
        valid: Sequence[Session],
        catalog: Catalog,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> SequentialRecommender:
        """Train a recommender.

        Args:
            train: Training sessions. Their candidates are not used.
            valid: Validation sessions with targets: they choose the epoch and teach nothing. With
                none, all epochs are trained and the last one stays.
            catalog: All items; the sessions name no other.
            seed: Same seed, data, configuration and machine: same parameters, also where the
                training was stopped and resumed from its checkpoint.
            on_progress: Called after every epoch with epochs done and in all, and with all of
                them done where training ends early; what it raises ends the training.

        Raises:
            ValueError: If there is nothing to learn in the training sessions, a session is in
                both splits, one names an item that the catalogue lacks, a validation session has
                no target, or the loss is no longer a number.
        """
        if shared := {each.session_id for each in train} & {each.session_id for each in valid}:
            raise ValueError(f"session {min(shared)!r} is in both splits")
        config = self.config
        numbers = item_numbers(catalog.item_ids)
        sequences = training_sequences(train, numbers, config.max_length, config.repeats)
        if not len(sequences):
            raise ValueError("no training session has two items in a row to learn from")
        task = ValidationTask.of(valid, numbers, config.max_length)
        log_counts = sequences.item_counts(len(numbers)).log1p()
        state = self._initial_state(len(numbers), seed)
        fingerprint = ""
        if self._checkpoint is not None:
            settings = f"{self.kind} {seed} {config.model_dump_json()}"
            parts = (sequences.items, sequences.targets, task.histories, task.targets, task.others)
            arrays = [part.numpy() for part in parts]
            fingerprint = data_fingerprint(settings, catalog.item_ids, arrays)
            state.resume(self._checkpoint, fingerprint)
        while not self._finished(state):
            loss = self._run_epoch(state, sequences, config.popularity_offset * log_counts)
            ndcg = task.ndcg(state.backbone, log_counts) if valid else None
            state.add_epoch(EpochPoint(loss=loss, valid_ndcg=ndcg))
            due = state.epoch % self._checkpoint_every == 0 or self._finished(state)
            if self._checkpoint is not None and due:
                state.save(self._checkpoint, fingerprint)
            if on_progress is not None:
                on_progress(state.epoch, config.epochs)
        if on_progress is not None and state.epoch < config.epochs:
            on_progress(config.epochs, config.epochs)
        state.backbone.load_state_dict(state.best)
        return SequentialRecommender(
            state.backbone,
            self.kind,
            catalog.item_ids,
            log_counts,
            seed=seed,
            curve=state.curve,
        )

    def _initial_state(self, num_items: int, seed: int) -> _TrainingState:
        config, generator = self.config, torch.Generator().manual_seed(seed)
        backbone = BACKBONES[self.kind](num_items, config, generator)
        optimiser = torch.optim.AdamW(
            backbone.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        return _TrainingState(backbone, optimiser, generator, config.selection_window)

    def _finished(self, state: _TrainingState) -> bool:
        waited = state.epoch - state.best_epoch
        return state.epoch >= self.config.epochs or waited >= self.config.patience

    def _run_epoch(
        self, state: _TrainingState, sequences: TrainingSequences, offset: torch.Tensor
    ) -> float:
        """Pass once over all sequences; return the mean loss of a step to the next item."""
        total, steps = 0.0, 0
        order = torch.randperm(len(sequences), generator=state.generator)
        for start in range(0, len(order), self.config.batch_size):
            batch = order[start : start + self.config.batch_size]
            targets = sequences.targets[batch]
            learnt = targets != PADDING
            users = state.backbone(sequences.items[batch], state.generator)[learnt]
            logits = users @ state.backbone.item_vectors[1:].T + offset
            loss = functional.cross_entropy(logits, targets[learnt] - 1)
            state.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(state.backbone.parameters(), self.config.gradient_clip)
            state.optimiser.step()
            total += float(loss.detach()) * len(users)
            steps += len(users)
        mean = total / steps
        if not math.isfinite(mean):
            raise ValueError("the loss is no longer a number; a lower learning rate may help")
        return mean
