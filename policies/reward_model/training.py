"""Trains the adapter of an augmented recommender on sessions with one text each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch.nn import functional

from agentrec.policies.reward_model.augmented import (
    AugmentedRecommender,
    Floats,
    RewardEpoch,
    empty_adapter,
    move_scores,
)
from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.reward_model.target_odds import TargetOdds
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.standardiser import Standardiser
from agentrec.sessions import Session


class RewardModelTrainer:
    """Next-item training of the adapter alone; the backbone stays as it is.

    Each session has one text, written from the first part of its history. What came after that
    part, the rest of the history and the target, is what the text is to help with. The best epoch
    is kept by validation sessions with texts of their own.

    Source: RLRF4Rec, training of the reward model; KAR (arXiv 2306.10933) for the first part.
    Differs: the backbone is trained before and frozen, so that what is gained is the text's.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
    """

    def __init__(self, config: RewardModelConfig | None = None) -> None:
        self.config = config or RewardModelConfig()

    def fit(
        self,
        recommender: SequentialRecommender,
        train: Sequence[Session],
        train_vectors: Floats,
        valid: Sequence[Session],
        valid_vectors: Floats,
        *,
        shown_share: float,
        item_vectors: Floats | None = None,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AugmentedRecommender:
        """Train an adapter.

        Args:
            recommender: The backbone, trained on no session of ``valid``.
            train: Sessions with targets in the catalogue, at least one.
            train_vectors: The vector of each one's text, ``[train, text_dim]``.
            valid: Sessions with targets and candidates; may be none.
            valid_vectors: ``[valid, text_dim]``.
            shown_share: Share of a history that texts were written from, above 0 to 1.
            item_vectors: Text vectors of the items, ``[num_items, text_dim]``; ``None`` to do
                without.
            seed: Same seed, data and configuration: same parameters. The global random state is
                not touched.
            on_progress: Called with epochs done and in all; what it raises ends the training.

        Raises:
            ValueError: If there is nothing to learn from, or shapes do not fit.
        """
        config = self.config
        for name, sessions, vectors in (
            ("train", train, train_vectors),
            ("valid", valid, valid_vectors),
        ):
            if len(sessions) != len(vectors):
                raise ValueError(f"{len(sessions)} {name} sessions, {len(vectors)} texts")
        generator = torch.Generator().manual_seed(seed)
        texts = Standardiser.fit(train_vectors, config.text_components)
        item_features = _item_features(recommender, item_vectors, config)
        steps = _steps(recommender, train, texts(train_vectors), shown_share)
        if not len(steps[2]):
            raise ValueError("no training session has anything after its first part")
        adapter = empty_adapter(
            recommender, texts.num_features, item_features.shape[1], config, generator
        )
        optimiser = torch.optim.AdamW(
            adapter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        odds = TargetOdds.of(recommender, valid) if valid else None
        best, best_value, best_epoch = deepcopy(adapter.state_dict()), -math.inf, -1
        curve: list[RewardEpoch] = []

        def now() -> AugmentedRecommender:
            return AugmentedRecommender(
                recommender, adapter, texts, item_features, config=config, seed=seed, curve=curve
            )

        while len(curve) < config.epochs and len(curve) - 1 - best_epoch < config.patience:
            adapter.requires_grad_(True)
            loss = _epoch(adapter, optimiser, recommender, item_features, steps, config, generator)
            value = -loss
            if odds is not None:
                value = float(odds.log_probabilities(now().moves(valid, valid_vectors)).mean())
            curve.append(
                RewardEpoch(loss=loss, valid_log_probability=None if odds is None else value)
            )
            if value > best_value:
                best, best_value = deepcopy(adapter.state_dict()), value
                best_epoch = len(curve) - 1
            if on_progress is not None:
                on_progress(len(curve), config.epochs)
        if on_progress is not None and len(curve) < config.epochs:
            on_progress(config.epochs, config.epochs)
        adapter.load_state_dict(best)
        return now()


def _item_features(
    recommender: SequentialRecommender, vectors: Floats | None, config: RewardModelConfig
) -> torch.Tensor:
    """Principal components of the items' texts, ``[num_items, item_dim]``."""
    num_items = len(recommender.item_ids)
    if vectors is None or config.item_components == 0:
        return torch.zeros(num_items, 0)
    if len(vectors) != num_items:
        raise ValueError(f"{len(vectors)} item vectors for {num_items} items")
    components = Standardiser.fit(vectors, config.item_components)(vectors)
    # As long as item vectors are, so that one step size suits both.
    scale = float(recommender.item_vectors.norm(dim=1).mean()) / max(
        1e-9, float(np.linalg.norm(components, axis=1).mean())
    )
    return torch.from_numpy(np.asarray(components * scale, dtype=np.float32))


def _steps(
    recommender: SequentialRecommender, sessions: Sequence[Session], texts: Floats, share: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Users, texts and next items at every place behind the first part of each history.

    Returns:
        ``[steps, dim]``, ``[steps, text_features]`` and item places ``[steps]``.
    """
    place = {item_id: at for at, item_id in enumerate(recommender.item_ids)}
    prefixes: list[Session] = []
    rows: list[int] = []
    targets: list[int] = []
    for row, session in enumerate(sessions):
        whole = (*session.items, *(() if session.target is None else (session.target,)))
        shown = max(1, math.floor(len(session.items) * share + 1e-9))
        for at in range(shown, len(whole)):
            if whole[at] in place:
                prefixes.append(Session(session_id=session.session_id, items=whole[:at]))
                rows.append(row)
                targets.append(place[whole[at]])
    users = recommender.user_vectors(prefixes)
    chosen = torch.from_numpy(texts)[torch.tensor(rows, dtype=torch.int64)]
    return users, chosen, torch.tensor(targets, dtype=torch.int64)


def _epoch(
    adapter: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    recommender: SequentialRecommender,
    item_features: torch.Tensor,
    steps: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    config: RewardModelConfig,
    generator: torch.Generator,
) -> float:
    """One pass over all steps; the mean loss in nats."""
    users, texts, targets = steps
    order = torch.randperm(len(targets), generator=generator)
    total = 0.0
    for start in range(0, len(order), config.batch_size):
        batch = order[start : start + config.batch_size]
        known = users[batch] @ recommender.item_vectors.T + recommender.popularity
        moved = adapter(users[batch], texts[batch], generator)
        logits = known + move_scores(moved, recommender.item_vectors, item_features)
        loss = functional.cross_entropy(logits, targets[batch])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    mean = total / len(targets)
    if not math.isfinite(mean):
        raise ValueError("the loss is no longer a number; a lower learning rate may help")
    return mean
