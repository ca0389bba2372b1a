"""How good a backbone is on sessions that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from agentrec.catalog import Catalog
from agentrec.evaluation.metrics import ndcg_of_ranks
from agentrec.policies.sequential.backbones import BACKBONES, PADDING, Backbone, affinities
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
    Checkpoint,
    below,
    fingerprint,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from agentrec.sessions import Session

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """Sessions with what came next and what it is to be told from.

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
            sessions: With targets. Without candidates of its own, a session's are the whole
                catalogue but its history.
            numbers: From ``item_numbers``; candidates without a number are passed over.
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
            log_counts: See ``affinities``.
        """
        ranks = []
        for start in range(0, len(self.targets), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scores = affinities(backbone, self.histories[rows], log_counts)
            others = self.others[rows]
            of_target = scores.gather(1, self.targets[rows, None] - 1)
            of_others = scores.gather(1, (others - 1).clamp(min=0))
            ranks.append(1 + ((of_others >= of_target) & (others != PADDING)).sum(dim=1))
        return float(ndcg_of_ranks(torch.cat(ranks).numpy()).mean())


_KIND = "sequential-training"


class _State(Checkpoint):
    curve: tuple[EpochPoint, ...]
    best_epoch: int
    best_score: float | None


@dataclass(eq=False)
class TrainingState:
    """What changes while training.

    Attributes:
        backbone: The network.
        optimiser: Its optimiser.
        generator: Source of everything drawn.
        window: Looks at validation whose mean scores an epoch, at least 1.
        curve: A point for each epoch done.
        best_epoch: The 1-based epoch to keep; 0 while there is none.
        best_score: Its score; ``None`` while there is none.
        best: Its parameters.
    """

    backbone: Backbone
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    window: int
    curve: list[EpochPoint] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float | None = None
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.curve)

    def record(self, point: EpochPoint) -> None:
        """Note an epoch, and keep its parameters if it is the best so far.

        An epoch is scored by the mean of the last ``window`` looks, its own among them: a single
        look at a few hundred sessions is mostly luck. Without validation the latest is the best.
        """
        self.curve.append(point)
        looks = [each.valid_ndcg for each in self.curve[-self.window :]]
        known = [look for look in looks if look is not None]
        score = float(np.mean(known)) if known else None
        if score is None or self.best_score is None or score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            self.best = {name: one.clone() for name, one in self.backbone.state_dict().items()}

    def save(self, folder: Path, training: str) -> None:
        """Write it; a reader finds the previous state or this one, never a mixture.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.
        """
        tensors = {f"backbone.{name}": one for name, one in self.backbone.state_dict().items()}
        tensors |= {f"best.{name}": one for name, one in self.best.items()}
        tensors["generator"] = self.generator.get_state()
        state = _State(
            training=training,
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            best_score=self.best_score,
        )
        write_checkpoint(folder, _KIND, state, tensors, self.optimiser)

    def go_on(self, folder: Path, training: str) -> bool:
        """Take up what ``save`` wrote.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.

        Returns:
            Whether there was a state of this very training; what is left of another one, or of
            none that can be read, is passed over.
        """
        found = read_checkpoint(folder, _KIND, _State, training)
        if found is None:
            return False
        state, tensors = found
        self.backbone.load_state_dict(below("backbone.", tensors))
        self.best = {name: one.clone() for name, one in below("best.", tensors).items()}
        self.generator.set_state(tensors["generator"])
        restore_optimiser(self.optimiser, tensors)
        self.curve = list(state.curve)
        self.best_epoch = state.best_epoch
        self.best_score = state.best_score
        return True


class BackboneTrainer:
    """Next-item training at every place of every session, over the whole catalogue.

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
        checkpoint: Folder in which a training that is stopped is found again; ``None`` for none.
            What lies there of another training is replaced.
        checkpoint_every: Epochs between two states written there, at least 1.

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
            train: Training sessions. Their candidates are not looked at.
            valid: Validation sessions with targets: they choose the epoch and teach nothing. With
                none, all epochs are trained and the last one stays.
            catalog: All items; the sessions name no other.
            seed: Same seed, data, configuration and machine: same parameters, also where the
                training was stopped and went on from its checkpoint.
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
            raise ValueError("no training session has an item and one that came next")
        task = ValidationTask.of(valid, numbers, config.max_length)
        log_counts = sequences.item_counts(len(numbers)).log1p()
        state = self._started(len(numbers), seed)
        training = ""
        if self._checkpoint is not None:
            settings = f"{self.kind} {seed} {config.model_dump_json()}"
            parts = (sequences.items, sequences.targets, task.histories, task.targets, task.others)
            training = fingerprint(settings, catalog.item_ids, [part.numpy() for part in parts])
            state.go_on(self._checkpoint, training)
        while not self._finished(state):
            loss = self._epoch(state, sequences, config.popularity_offset * log_counts)
            ndcg = task.ndcg(state.backbone, log_counts) if valid else None
            state.record(EpochPoint(loss=loss, valid_ndcg=ndcg))
            due = state.epoch % self._checkpoint_every == 0 or self._finished(state)
            if self._checkpoint is not None and due:
                state.save(self._checkpoint, training)
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

    def _started(self, num_items: int, seed: int) -> TrainingState:
        generator = torch.Generator().manual_seed(seed)
        backbone = BACKBONES[self.kind](num_items, self.config, generator)
        optimiser = torch.optim.AdamW(
            backbone.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        return TrainingState(backbone, optimiser, generator, self.config.selection_window)

    def _finished(self, state: TrainingState) -> bool:
        waited = state.epoch - state.best_epoch
        return state.epoch >= self.config.epochs or waited >= self.config.patience

    def _epoch(
        self, state: TrainingState, sequences: TrainingSequences, offset: torch.Tensor
    ) -> float:
        """One pass over all sequences.

        Returns:
            The mean loss of a step to the next item.
        """
        total, steps = 0.0, 0
        order = torch.randperm(len(sequences), generator=state.generator)
        for start in range(0, len(order), self.config.batch_size):
            batch = order[start : start + self.config.batch_size]
            targets = sequences.targets[batch]
            told = targets != PADDING
            users = state.backbone(sequences.items[batch], state.generator)[told]
            logits = users @ state.backbone.item_vectors[1:].T + offset
            loss = functional.cross_entropy(logits, targets[told] - 1)
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
