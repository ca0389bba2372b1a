"""The written rule that the embedded model is distilled from.

Without a hint it ranks by likeness to the history in text and categories, recent items counting
more; it weighs no number. A hint adds what it asks for. So the rule knows what things are about,
but not how old or how famous they should be unless somebody says so: the kind of one-sidedness
that hints exist to correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agentrec.data.item_features import ItemFeatures
from agentrec.llm.catalog_lm.aspects import TEXT_BLOCK, Aspect, Scope


@dataclass(frozen=True)
class RuleWeights:
    """Strengths of the parts of the rule, in standard deviations of each part.

    Attributes:
        text: Likeness in text to the history, without a hint.
        category: Likeness in all categories together, without a hint.
        hint: Each aspect that a hint asks for, a likeness to the history.
        fixed_hint: Each aspect that a hint asks for, a property of the item alone.
        recency: Factor between the weights of a history item and the one after it, 0 to 1.
    """

    text: float = 0.8
    category: float = 0.5
    hint: float = 1.5
    fixed_hint: float = 1.0
    recency: float = 0.8


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
        self._blocks = {TEXT_BLOCK: torch.from_numpy(features.text)}
        for category in features.categories:
            self._blocks[category.name] = torch.from_numpy(category.vectors)
        for number in features.numbers:
            self._blocks[number.name] = torch.from_numpy(number.vectors)
        self._categories = tuple(category.name for category in features.categories)
        self._fixed = torch.stack(
            [
                torch.zeros(len(features.text)) if a.scores is None else torch.from_numpy(a.scores)
                for a in aspects
            ]
        )
        self._scale: dict[tuple[str, Scope], tuple[float, float]] = {}
        self._calibrate(len(features.text))

    def base_scores(
        self, histories: torch.Tensor, lengths: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """Scores without a hint.

        Args:
            histories: Item positions, oldest first, padded behind, ``[batch, max_length]``.
            lengths: Length of each history, at least 1, ``[batch]``.
            items: Item positions to score, ``[batch, num_items]``.

        Returns:
            Scores, ``[batch, num_items]``; higher is better.
        """
        scores = self.weights.text * self._likeness(
            TEXT_BLOCK, "history", histories, lengths, items
        )
        for name in self._categories:
            part = self._likeness(name, "history", histories, lengths, items)
            scores = scores + self.weights.category / len(self._categories) * part
        return scores

    def aspect_scores(
        self,
        aspect: int,
        histories: torch.Tensor,
        lengths: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """Standardised scores of one aspect; arguments and shape as for ``base_scores``."""
        chosen = self.aspects[aspect]
        if chosen.block is None or chosen.scope is None:
            return self._fixed[aspect][items]
        return self._likeness(chosen.block, chosen.scope, histories, lengths, items)

    def hinted_scores(
        self,
        wanted: torch.Tensor,
        histories: torch.Tensor,
        lengths: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """Scores with hints.

        Args:
            wanted: What each row's hint asks for: 1 for an aspect to prefer, -1 for one to avoid,
                else 0, ``[batch, num_aspects]``.
            histories: As for ``base_scores``.
            lengths: As for ``base_scores``.
            items: As for ``base_scores``.
        """
        scores = self.base_scores(histories, lengths, items)
        for aspect in torch.nonzero(wanted.abs().sum(dim=0)).flatten().tolist():
            rows = torch.nonzero(wanted[:, aspect]).flatten()
            part = self.aspect_scores(aspect, histories[rows], lengths[rows], items[rows])
            relative = self.aspects[aspect].block is not None
            strength = self.weights.hint if relative else self.weights.fixed_hint
            scores[rows] += strength * wanted[rows, aspect, None] * part
        return scores

    def profile(
        self, histories: torch.Tensor, lengths: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """Every aspect's score of some items, ``[batch, num_items, num_aspects]``."""
        parts = [self.aspect_scores(a, histories, lengths, items) for a in range(len(self.aspects))]
        return torch.stack(parts, dim=-1)

    def _likeness(
        self,
        block: str,
        scope: Scope,
        histories: torch.Tensor,
        lengths: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        query = self._query(block, scope, histories, lengths)
        raw = torch.einsum("bd,bnd->bn", query, self._blocks[block][items])
        mean, spread = self._scale.get((block, scope), (0.0, 1.0))
        return (raw - mean) / spread

    def _query(
        self, block: str, scope: Scope, histories: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        vectors = self._blocks[block]
        if scope == "last":
            return vectors[histories.gather(1, lengths[:, None] - 1).squeeze(1)]
        age = lengths[:, None] - 1 - torch.arange(histories.shape[1])[None]
        weight = torch.where(age >= 0, self.weights.recency ** age.clamp(min=0).float(), 0.0)
        weight = weight / weight.sum(dim=1, keepdim=True)
        return torch.einsum("bh,bhd->bd", weight, vectors[histories.clamp(min=0)])

    def _calibrate(self, num_items: int) -> None:
        """Measure each likeness on random histories, so that its unit is a standard deviation."""
        generator = torch.Generator().manual_seed(0)
        histories = torch.randint(num_items, (256, 10), generator=generator)
        lengths = torch.randint(1, 11, (256,), generator=generator)
        items = torch.randint(num_items, (256, 32), generator=generator)
        scopes: tuple[Scope, ...] = ("history", "last")
        for block in self._blocks:
            for scope in scopes:
                raw = self._likeness(block, scope, histories, lengths, items)
                spread = max(float(raw.std()), 1e-6)
                self._scale[block, scope] = (float(raw.mean()), spread)
