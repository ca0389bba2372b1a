"""The rule that the embedded model is distilled from.

Without a hint it ranks by similarity to the history in text and categories, recent items counting
more; it ignores numbers. A hint adds the properties it asks for. So the rule knows what items are
about, but not how old, expensive or famous they should be: the kind of bias that hints correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentrec.catalog import Catalog
from agentrec.data.item_features import ItemFeatures
from agentrec.embedded_model.aspects import Aspect
from agentrec.evaluation.baselines import Ranker, order_by_score
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session


@dataclass(frozen=True)
class RuleWeights:
    """Strengths of the terms of the rule, in standard deviations of each term.

    Attributes:
        text: Similarity in text to the history.
        category: Similarity in all categories together.
        hint: Each property that a hint asks for.
        recency: Factor between the weights of a history item and the one after it, 0 to 1.
    """

    text: float = 0.8
    category: float = 0.5
    hint: float = 1.5
    recency: float = 0.9


class Teacher:
    """Scores candidates for histories and hints, in batches.

    Args:
        features: The catalogue's features.
        aspects: What hints can ask for.
        weights: Strengths.
    """

    def __init__(
        self, features: ItemFeatures, aspects: tuple[Aspect, ...], weights: RuleWeights
    ) -> None:
        self.aspects = aspects
        self.weights = weights
        # The text has the key None: a category may have any name.
        self._blocks: dict[str | None, torch.Tensor] = {None: torch.from_numpy(features.text)}
        for category in features.categories:
            self._blocks[category.name] = torch.from_numpy(category.vectors)
        self._categories = tuple(category.name for category in features.categories)
        rows = [torch.from_numpy(aspect.scores) for aspect in aspects]
        self._properties = torch.stack(rows) if rows else torch.zeros((0, len(features.text)))
        self._scale: dict[str | None, tuple[float, float]] = {}
        self._calibrate(len(features.text))

    def base_scores(
        self, histories: torch.Tensor, lengths: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """Score items without a hint.

        Args:
            histories: Item indices, oldest first, padded at the end, ``[batch, max_length]``.
            lengths: Length of each history, at least 1, ``[batch]``.
            items: Item indices to score, ``[batch, num_items]``.

        Returns:
            Scores, ``[batch, num_items]``; higher is better.
        """
        scores = self.weights.text * self._similarity(None, histories, lengths, items)
        for name in self._categories:
            similarity = self._similarity(name, histories, lengths, items)
            scores = scores + self.weights.category / len(self._categories) * similarity
        return scores

    def hinted_scores(
        self,
        wanted: torch.Tensor,
        histories: torch.Tensor,
        lengths: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """Score items with hints.

        Args:
            wanted: What each row's hint asks for: 1 to prefer an aspect, -1 to avoid it, else 0,
                ``[batch, num_aspects]``.
            histories: As for ``base_scores``.
            lengths: As for ``base_scores``.
            items: As for ``base_scores``.
        """
        requested = wanted @ self._properties
        added = self.weights.hint * requested.gather(1, items)
        return self.base_scores(histories, lengths, items) + added

    def profile(self, items: torch.Tensor) -> torch.Tensor:
        """Return every property of some items, ``[batch, num_items, num_aspects]``."""
        return self._properties.T[items]

    def _similarity(
        self,
        block: str | None,
        histories: torch.Tensor,
        lengths: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        vectors = self._blocks[block]
        age = lengths[:, None] - 1 - torch.arange(histories.shape[1])[None]
        weight = torch.where(age >= 0, self.weights.recency ** age.clamp(min=0).float(), 0.0)
        weight = weight / weight.sum(dim=1, keepdim=True)
        query = torch.einsum("bh,bhd->bd", weight, vectors[histories])
        # Scoring all items and then picking is far cheaper than gathering a vector for each pick.
        raw = (query @ vectors.T).gather(1, items)
        mean, spread = self._scale.get(block, (0.0, 1.0))
        return (raw - mean) / spread

    def _calibrate(self, num_items: int) -> None:
        """Measure each similarity on random histories, so that its unit is a standard deviation."""
        generator = torch.Generator().manual_seed(0)
        histories = torch.randint(num_items, (256, 10), generator=generator)
        lengths = torch.randint(1, 11, (256,), generator=generator)
        items = torch.randint(num_items, (256, 32), generator=generator)
        for block in self._blocks:
            raw = self._similarity(block, histories, lengths, items)
            self._scale[block] = (float(raw.mean()), max(float(raw.std()), 1e-6))


class RuleRanker(Ranker):
    """Ranks by the rule without a hint, which the embedded model approximates.

    Args:
        catalog: The items.
        teacher: The rule.
        seed: Seed for breaking ties.
    """

    def __init__(self, catalog: Catalog, teacher: Teacher, seed: int = 0) -> None:
        self._catalog = catalog
        self._teacher = teacher
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates; see ``Ranker.rank``."""
        history = self._indices(session.items[-HISTORY_LENGTH:])
        lengths = torch.tensor([history.shape[1]])
        scored = self._teacher.base_scores(history, lengths, self._indices(session.candidates))
        scores = dict(zip(session.candidates, scored[0].tolist(), strict=True))
        return order_by_score(session, scores, self._seed)

    def _indices(self, item_ids: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[self._catalog.index[item_id] for item_id in item_ids]])
