"""The written rule that the embedded model is distilled from.

Without a hint it ranks by likeness to the history in text and categories, recent items counting
more; it weighs no number. A hint adds the properties it asks for. So the rule knows what things
are about, but not how old, how dear or how famous they should be unless somebody says so: the
kind of one-sidedness that hints exist to correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentrec.catalog import Catalog
from agentrec.data.item_features import ItemFeatures
from agentrec.embedded_model.language.aspects import Aspect
from agentrec.evaluation.baselines import Ranker
from agentrec.evaluation.baselines.ranker import order_by_score
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.sessions import Session


@dataclass(frozen=True)
class RuleWeights:
    """Strengths of the parts of the rule, in standard deviations of each part.

    Attributes:
        text: Likeness in text to the history.
        category: Likeness in all categories together.
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
        # None for the text: a category may have any name.
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
        """Scores without a hint.

        Args:
            histories: Item positions, oldest first, padded behind, ``[batch, max_length]``.
            lengths: Length of each history, at least 1, ``[batch]``.
            items: Item positions to score, ``[batch, num_items]``.

        Returns:
            Scores, ``[batch, num_items]``; higher is better.
        """
        scores = self.weights.text * self._likeness(None, histories, lengths, items)
        for name in self._categories:
            part = self._likeness(name, histories, lengths, items)
            scores = scores + self.weights.category / len(self._categories) * part
        return scores

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
        asked = wanted @ self._properties
        added = self.weights.hint * asked.gather(1, items)
        return self.base_scores(histories, lengths, items) + added

    def profile(self, items: torch.Tensor) -> torch.Tensor:
        """Every property of some items, ``[batch, num_items, num_aspects]``."""
        return self._properties.T[items]

    def _likeness(
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
        # All items at once and then picked: far cheaper than gathering a vector for each pick.
        raw = (query @ vectors.T).gather(1, items)
        mean, spread = self._scale.get(block, (0.0, 1.0))
        return (raw - mean) / spread

    def _calibrate(self, num_items: int) -> None:
        """Measure each likeness on random histories, so that its unit is a standard deviation."""
        generator = torch.Generator().manual_seed(0)
        histories = torch.randint(num_items, (256, 10), generator=generator)
        lengths = torch.randint(1, 11, (256,), generator=generator)
        items = torch.randint(num_items, (256, 32), generator=generator)
        for block in self._blocks:
            raw = self._likeness(block, histories, lengths, items)
            self._scale[block] = (float(raw.mean()), max(float(raw.std()), 1e-6))


class RuleRanker(Ranker):
    """Ranks by the teacher's scores without a hint: what the embedded model should come near to.

    Args:
        catalog: The items.
        teacher: The rule.
        seed: Seed of the lot among equal scores.
    """

    def __init__(self, catalog: Catalog, teacher: Teacher, seed: int = 0) -> None:
        self._catalog = catalog
        self._teacher = teacher
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates; see ``Ranker.rank``."""
        history = self._places(session.items[-HISTORY_LENGTH:])
        lengths = torch.tensor([history.shape[1]])
        scored = self._teacher.base_scores(history, lengths, self._places(session.candidates))
        scores = dict(zip(session.candidates, scored[0].tolist(), strict=True))
        return order_by_score(session, scores, self._seed)

    def _places(self, item_ids: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[self._catalog.index[item_id] for item_id in item_ids]])
