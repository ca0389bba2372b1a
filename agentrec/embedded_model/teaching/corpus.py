"""Synthetic data: histories, candidates and hints drawn from the catalogue.

No user's sequence is ever seen here: a history is a draw of items that are similar in a random
mixture of features, candidates come from the catalogue, and the teacher's rule gives the answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agentrec.data.item_features import ItemFeatures
from agentrec.embedded_model.teaching.teacher import Teacher
from agentrec.embedded_model.text_grammar import hint_words
from agentrec.embedded_model.vocabulary import PAD, Vocabulary
from agentrec.llm.prompts.session_view import HISTORY_LENGTH


@dataclass(frozen=True)
class PromptSample:
    """Drawn histories and hints.

    Attributes:
        histories: Item indices, oldest first, padded at the end, ``[count, HISTORY_LENGTH]``.
        lengths: Length of each history, ``[count]``.
        wanted: What each hint asks for: 1 to prefer, -1 to avoid, ``[count, num_aspects]``.
        hints: The hints' words as token ids; empty for no hint.
    """

    histories: torch.Tensor
    lengths: torch.Tensor
    wanted: torch.Tensor
    hints: tuple[tuple[int, ...], ...]


class Corpus:
    """Draws the material of lessons.

    Args:
        features: The catalogue's features.
        teacher: The rule.
        vocabulary: The tokens.
        seed: Seed of all draws.
    """

    def __init__(
        self, features: ItemFeatures, teacher: Teacher, vocabulary: Vocabulary, seed: int
    ) -> None:
        self.teacher = teacher
        self.vocabulary = vocabulary
        self.rng = random.Random()
        self._seed = seed
        self._generator = torch.Generator()
        self.begin_step(0)
        self.num_items = len(features.text)
        self._balance = _balancing_weights(features).log()
        self._similarity_features = [
            torch.from_numpy(block)
            for block in (
                features.text,
                *(category.vectors for category in features.categories),
                *(number.vectors for number in features.numbers),
            )
        ]

    def begin_step(self, step: int) -> None:
        """Make all further draws depend on the seed and this step alone.

        So an interrupted training resumes with the same data.
        """
        self.rng.seed(f"{self._seed} {step}")
        self._generator.manual_seed(self.rng.getrandbits(62))

    def histories(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw histories.

        Returns:
            Item indices ``[count, HISTORY_LENGTH]`` (padded with 0) and lengths ``[count]``.
        """
        pool = self.distinct(count, 128)
        anchor = pool[:, 0]
        similarity = torch.zeros(pool.shape)
        for block in self._similarity_features:
            weight = torch.rand((count, 1), generator=self._generator) ** 2
            similarity += weight * (block[anchor] @ block.T).gather(1, pool)
        sharpness = torch.rand((count, 1), generator=self._generator) * 8
        noisy = sharpness * similarity + self.gumbel(pool.shape)
        width = min(HISTORY_LENGTH, pool.shape[1])
        chosen = pool.gather(1, noisy.topk(width, dim=1).indices)
        shuffle = torch.rand(chosen.shape, generator=self._generator).argsort(dim=1)
        chosen = chosen.gather(1, shuffle)
        lengths = torch.randint(1, width + 1, (count,), generator=self._generator)
        full = torch.rand(count, generator=self._generator) < 0.5
        return chosen, torch.where(full, width, lengths)

    def sample(self, count: int) -> PromptSample:
        """Draw histories, most of them with a hint."""
        histories, lengths = self.histories(count)
        hints = [self._random_hint() for _ in range(count)]
        wanted = torch.zeros((count, len(self.teacher.aspects)))
        for row, hint in enumerate(hints):
            for aspect, sign in hint:
                wanted[row, aspect] = sign
        words = tuple(tuple(self.word_ids(self._hint_words(hint))) for hint in hints)
        return PromptSample(histories, lengths, wanted, words)

    def scores(self, sample: PromptSample, items: torch.Tensor) -> torch.Tensor:
        """Return the rule's scores of item indices ``[count, num_items]``, in the same shape."""
        return self.teacher.hinted_scores(sample.wanted, sample.histories, sample.lengths, items)

    def history_tokens(self, histories: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Return histories as item tokens."""
        first = self.vocabulary.first_item
        return [
            (row[:length] + first).tolist()
            for row, length in zip(histories, lengths.tolist(), strict=True)
        ]

    def word_ids(self, words: Sequence[str]) -> list[int]:
        """Return the token ids of words."""
        return [self.vocabulary.ids[word] for word in words]

    def padded(self, rows: Sequence[Sequence[int]], fill: int | None = None) -> torch.Tensor:
        """Return rows of token ids as one tensor, padded at the end."""
        value = self.vocabulary.ids[PAD] if fill is None else fill
        width = max(len(row) for row in rows)
        return torch.from_numpy(
            np.array([[*row, *[value] * (width - len(row))] for row in rows], dtype=np.int64)
        )

    def distinct(self, count: int, size: int) -> torch.Tensor:
        """Draw rows of distinct item indices, uniform over the catalogue, ``[count, size]``.

        A smaller catalogue gives rows of all its items.
        """
        size = min(size, self.num_items)
        if self.num_items <= 4 * size:
            keys = torch.rand((count, self.num_items), generator=self._generator)
            return keys.topk(size, dim=1).indices
        # Windows of one random order per batch: distinct within a row at little cost.
        relabel = torch.randperm(self.num_items, generator=self._generator)
        start = torch.randint(self.num_items, (count, 1), generator=self._generator)
        return relabel[(start + torch.arange(size)) % self.num_items]

    def candidates(self, count: int, size: int) -> torch.Tensor:
        """Draw rows of distinct item indices as ``distinct`` does, half of the time balanced.

        Balanced means that rare values of numbers are as frequent as common ones. Otherwise, where
        few items are widely known, a network could learn to rank fame low: training would hardly
        show it, and lists of items that people choose would suffer.
        """
        size = min(size, self.num_items)
        if self.rng.random() < 0.5:
            return self.distinct(count, size)
        keys = self._balance + self.gumbel((count, self.num_items))
        return keys.topk(size, dim=1).indices

    def integers(self, low: int, high: int, count: int) -> torch.Tensor:
        """Draw uniform whole numbers from ``low`` to below ``high``, ``[count]``."""
        return torch.randint(low, high, (count,), generator=self._generator)

    def gumbel(self, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
        """Draw Gumbel noise: the argmax of logits with it is a draw from their softmax."""
        uniform = torch.rand(shape, generator=self._generator).clamp(1e-6, 1 - 1e-6)
        return -(-uniform.log()).log()

    def _random_hint(self) -> list[tuple[int, int]]:
        aspects = len(self.teacher.aspects)
        count = min(aspects, self.rng.choices((0, 1, 2), weights=(4, 4, 2))[0])
        chosen = self.rng.sample(range(aspects), count)
        return [(aspect, -1 if self.rng.random() < 0.1 else 1) for aspect in chosen]

    def _hint_words(self, hint: Sequence[tuple[int, int]]) -> list[str]:
        if not hint:
            return []
        wanted = [(self.teacher.aspects[a], sign) for a, sign in hint]
        return hint_words(wanted, self.rng if self.rng.random() < 0.5 else None)


def _balancing_weights(features: ItemFeatures) -> torch.Tensor:
    """Return weights that draw every bin of every number about equally often, ``[num_items]``.

    Without numbers they are equal.
    """
    weights = torch.full((len(features.text),), 1e-9)
    for number in features.numbers:
        share = torch.from_numpy(number.vectors) ** 2
        weights += (share / share.sum(dim=0).clamp(min=1e-6)).sum(dim=1)
    return weights
