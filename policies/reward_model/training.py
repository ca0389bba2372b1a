"""Trains the adapter of an augmented recommender on sessions with one text each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch.nn import functional

from agentrec.continuations import first_part
from agentrec.policies.reward_model.augmented_recommender import (
    AugmentedRecommender,
    Floats,
    Fusion,
    RewardEpoch,
    make_adapter,
)
from agentrec.policies.reward_model.candidate_scores import CandidateScores
from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.standardiser import Standardiser
from agentrec.sessions import Session

_STRENGTHS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)


class RewardModelTrainer:
    """Next-item training of the adapter alone; the backbone stays as it is.

    Each session has a text, or several, written from the first part of its history. The text is to
    find what came after that part, the rest of the history and the target, beyond what popular
    items have in common. The first part is learnt as well: few items came after it, and both show
    what words mean of items. Validation sessions with texts of their own decide how much texts
    count beside the backbone, and so which epoch is best.

    Source: RLRF4Rec, training of the reward model; KAR (arXiv 2306.10933) for the first part.
    Differs: what texts want is learnt apart from the backbone. A backbone has memorised the
    sessions that it was trained on, so beside it a text would seem to add nothing there; and there
    are too few sessions to train both on different ones.

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
        item_vectors: Floats,
        shown_share: float,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AugmentedRecommender:
        """Train an adapter.

        Args:
            recommender: The backbone, trained on no session of ``valid``.
            train: Sessions with targets in the catalogue, at least one; one with several texts
                comes as often.
            train_vectors: The vector of each one's text, ``[train, text_dim]``.
            valid: Sessions with targets and candidates; may be none.
            valid_vectors: ``[valid, text_dim]``.
            item_vectors: Features of the items, such as their attributes, in catalogue order,
                ``[num_items, any]``.
            shown_share: Share of a history that texts were written from, above 0 to 1.
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
        if len(item_vectors) != len(recommender.item_ids):
            raise ValueError(f"{len(item_vectors)} item vectors, {len(recommender.item_ids)} items")
        generator = torch.Generator().manual_seed(seed)
        texts = Standardiser.fit(train_vectors, config.text_components)
        items = Standardiser.fit(item_vectors, config.item_components)(item_vectors)
        # As long as one number would be, whatever their width: one step size suits all.
        item_features = torch.from_numpy(items / np.float32(items.shape[1] ** 0.5))
        wanting, targets, weights = _steps(
            recommender, train, texts(train_vectors), shown_share, config.shown_weight
        )
        if not len(targets):
            raise ValueError("no training session has anything after its first part")
        adapter = make_adapter(texts.num_features, item_features.shape[1], config, generator)
        optimiser = torch.optim.AdamW(
            adapter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        valid_scores = CandidateScores.of(recommender, valid) if valid else None
        best, best_value, best_epoch = deepcopy(adapter.state_dict()), -math.inf, -1
        curve: list[RewardEpoch] = []

        def now(fusion: Fusion) -> AugmentedRecommender:
            return AugmentedRecommender(
                recommender,
                adapter,
                texts,
                item_features,
                fusion=fusion,
                config=config,
                seed=seed,
                curve=curve,
            )

        while len(curve) < config.epochs and len(curve) - 1 - best_epoch < config.patience:
            adapter.requires_grad_(True)
            order = torch.randperm(len(targets), generator=generator)
            batches = torch.split(order, config.batch_size)
            total = 0.0
            for batch in batches:
                wanted = adapter(wanting[batch], generator)
                logits = recommender.popularity + wanted @ item_features.T
                losses = functional.cross_entropy(logits, targets[batch], reduction="none")
                loss = (weights[batch] * losses).mean()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += float(loss.detach()) * len(batch)
            mean = total / len(targets)
            if not math.isfinite(mean):
                raise ValueError("the loss is no longer a number; a lower learning rate may help")
            value = -mean
            if valid_scores is not None:
                value, _ = _best_fusion(valid_scores, now(Fusion()).text_scores(valid_vectors))
            log_probability = None if valid_scores is None else value
            curve.append(RewardEpoch(loss=mean, valid_log_probability=log_probability))
            if value > best_value:
                best, best_value = deepcopy(adapter.state_dict()), value
                best_epoch = len(curve) - 1
            if on_progress is not None:
                on_progress(len(curve), config.epochs)
        if on_progress is not None and len(curve) < config.epochs:
            on_progress(config.epochs, config.epochs)
        adapter.load_state_dict(best)
        if valid_scores is None:
            return now(Fusion())
        return now(_best_fusion(valid_scores, now(Fusion()).text_scores(valid_vectors))[1])


def _best_fusion(scores: CandidateScores, text_scores: torch.Tensor) -> tuple[float, Fusion]:
    """Find the fusion under which validation targets are likeliest, and how likely they are."""
    added = scores.select(text_scores)
    found = [
        (
            float(scores.selected_log_probabilities(strength * added, temperature).mean()),
            Fusion(strength=strength, temperature=temperature),
        )
        for strength in _STRENGTHS
        for temperature in _TEMPERATURES
    ]
    return max(found, key=lambda each: each[0])


def _steps(
    recommender: SequentialRecommender,
    sessions: Sequence[Session],
    texts: Floats,
    share: float,
    shown_weight: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """List the examples: a text, an item of its session, and how much the item counts.

    Returns:
        ``[steps, text_features]``, item indices and weights, ``[steps]``; mean weight 1.
    """
    index = {item_id: at for at, item_id in enumerate(recommender.item_ids)}
    rows: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for row, session in enumerate(sessions):
        whole = (*session.items, *(() if session.target is None else (session.target,)))
        shown = len(first_part(session, share).items)
        for at, item in enumerate(whole):
            weight = shown_weight if at < shown else 1.0
            if item in index and weight > 0:
                rows.append(row)
                targets.append(index[item])
                weights.append(weight)
    wanting = torch.from_numpy(texts)[torch.tensor(rows, dtype=torch.int64)]
    counted = torch.tensor(weights, dtype=torch.float32)
    return wanting, torch.tensor(targets, dtype=torch.int64), counted / counted.mean()
