"""Synthetic instruction data: histories walked through the catalogue, answers from the rule.

No user's sequence is ever seen here: a history is drawn as items alike in some random mixture of
respects, the candidates are drawn from the catalogue, and the teacher says the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agentrec.data.item_features import ItemFeatures
from agentrec.llm.catalog_lm.prompt_tokens import prompt_tokens
from agentrec.llm.catalog_lm.teacher import Teacher
from agentrec.llm.catalog_lm.vocabulary import END, PAD, Vocabulary
from agentrec.llm.catalog_lm.wording import (
    Signed,
    critique_words,
    diagnosis_words,
    hint_list_words,
    hint_words,
)

MAX_HISTORY = 10
PREDICTIONS = 10
SOFTNESS = 0.5
"""Temperature of the ranking labels, in the rule's standard deviations."""


@dataclass(frozen=True)
class RankingBatch:
    """Prompts whose answer begins with the item to rank first.

    Attributes:
        tokens: Prompts, padded behind, ``[batch, length]``.
        answer_at: Place of the ``<answer>`` mark in each row, ``[batch]``.
        items: Token ids of the candidate lists, the same for every row,
            ``[num_lists, list_size]``.
        labels: The wanted distribution over each list, ``[batch, num_lists, list_size]``.
    """

    tokens: torch.Tensor
    answer_at: torch.Tensor
    items: torch.Tensor
    labels: torch.Tensor


class Corpus:
    """Draws training batches.

    Args:
        features: The catalogue's features.
        teacher: The rule.
        vocabulary: The tokens.
        seed: Seed of all draws.
    """

    def __init__(
        self, features: ItemFeatures, teacher: Teacher, vocabulary: Vocabulary, seed: int
    ) -> None:
        self._teacher = teacher
        self._vocabulary = vocabulary
        self._seed = seed
        self._rng = random.Random()
        self._generator = torch.Generator()
        self.begin_step(0)
        self._num_items = len(features.text)
        self._likenesses = [
            torch.from_numpy(block)
            for block in (
                features.text,
                *(category.vectors for category in features.categories),
                *(number.vectors for number in features.numbers),
            )
        ]

    def begin_step(self, step: int) -> None:
        """Make all draws from here on depend on the seed and this step alone.

        So a training that was interrupted goes on with what it would have seen.
        """
        self._rng.seed(f"{self._seed} {step}")
        self._generator.manual_seed(self._rng.getrandbits(62))

    def histories(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw histories.

        Returns:
            Item positions ``[count, MAX_HISTORY]`` (padded with 0) and lengths ``[count]``.
        """
        pool = self._distinct(count, min(128, self._num_items))
        anchor = pool[:, 0]
        likeness = torch.zeros(pool.shape)
        for block in self._likenesses:
            weight = torch.rand((count, 1), generator=self._generator) ** 2
            likeness += weight * (block[anchor] @ block.T).gather(1, pool)
        sharpness = torch.rand((count, 1), generator=self._generator) * 8
        noisy = sharpness * likeness + self._gumbel(pool.shape)
        width = min(MAX_HISTORY, pool.shape[1])
        chosen = pool.gather(1, noisy.topk(width, dim=1).indices)
        shuffle = torch.rand(chosen.shape, generator=self._generator).argsort(dim=1)
        chosen = chosen.gather(1, shuffle)
        lengths = torch.randint(1, width + 1, (count,), generator=self._generator)
        full = torch.rand(count, generator=self._generator) < 0.5
        return chosen, torch.where(full, width, lengths)

    def ranking_batch(self, count: int, num_lists: int, list_size: int) -> RankingBatch:
        """Draw prompts that ask for a ranking, most of them with a hint.

        Every row is taught the rule's choice from several candidate lists at once, which costs
        little beside reading the prompt.
        """
        histories, lengths = self.histories(count)
        size = min(list_size, self._num_items)
        lists = self._distinct(num_lists, size)
        hints = [self._random_hint() for _ in range(count)]
        wanted = torch.zeros((count, len(self._teacher.aspects)))
        for row, hint in enumerate(hints):
            for aspect, sign in hint:
                wanted[row, aspect] = sign
        items = lists.reshape(1, -1).expand(count, -1)
        scores = self._teacher.hinted_scores(wanted, histories, lengths, items)
        labels = (scores.reshape(count, num_lists, size) / SOFTNESS).softmax(dim=-1)
        first = self._vocabulary.first_item
        rows = [
            prompt_tokens(
                "rank",
                {
                    "<history>": (histories[row, : lengths[row]] + first).tolist(),
                    "<hint>": self._word_ids(self._worded(hints[row])),
                },
                self._vocabulary,
            )
            for row in range(count)
        ]
        answer_at = torch.tensor([len(row) - 1 for row in rows])
        return RankingBatch(self._padded(rows), answer_at, lists + first, labels)

    def text_batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw prompts that ask for a critique, a diagnosis or hints.

        Returns:
            Tokens ``[count, length]`` and labels of the same shape, -100 where the loss does
            not look (everything up to and with the ``<answer>`` mark, and padding).
        """
        histories, lengths = self.histories(count)
        pool = self._distinct(count, min(51, self._num_items))
        base = self._teacher.base_scores(histories, lengths, pool[:, 1:])
        ranked = base.topk(min(PREDICTIONS, base.shape[1]), dim=1).indices
        predictions = pool[:, 1:].gather(1, ranked)
        target = pool[:, :1]
        profile = self._teacher.profile(torch.cat([target, predictions], dim=1))
        contrast = profile[:, 0] - profile[:, 1:].mean(dim=1)
        held = profile[:, 1:].mean(dim=1)
        first = self._vocabulary.first_item
        rows, labels = [], []
        for row in range(count):
            sections = {
                "<history>": (histories[row, : lengths[row]] + first).tolist(),
                "<predictions>": (predictions[row] + first).tolist(),
            }
            task = self._rng.choice(("critique", "diagnose", "hints", "hints"))
            if task == "critique":
                answer = critique_words([self._teacher.aspects[a] for a in self._top(held[row], 2)])
            else:
                sections["<target>"] = (target[row] + first).tolist()
                more, less = self._top(contrast[row], 3), self._top(-contrast[row], 2)
                aspects = self._teacher.aspects
                if task == "diagnose":
                    answer = diagnosis_words([aspects[a] for a in more], [aspects[a] for a in less])
                else:
                    answer = hint_list_words(self._three_hints(more, less))
            prompt = prompt_tokens(task, sections, self._vocabulary)
            wanted = [*self._word_ids(answer), self._vocabulary.ids[END]]
            rows.append(prompt + wanted)
            labels.append([-100] * len(prompt) + wanted)
        return self._padded(rows), self._padded(labels, -100)

    def _three_hints(self, more: list[int], less: list[int]) -> list[list[Signed]]:
        """One cause a hint, and one hint that joins the two strongest."""
        aspects = self._teacher.aspects
        hints: list[list[Signed]] = [[(aspects[a], 1)] for a in more[:1]]
        if len(more) > 1:
            hints.append([(aspects[more[0]], 1), (aspects[more[1]], 1)])
            hints.append([(aspects[more[1]], 1)])
        return hints

    def _top(self, values: torch.Tensor, count: int) -> list[int]:
        """Highest values, drawn with a little noise so that near ties come out either way."""
        noisy = values + 0.25 * self._gumbel(values.shape)
        return noisy.topk(min(count, len(values))).indices.tolist()

    def _random_hint(self) -> list[tuple[int, int]]:
        aspects = len(self._teacher.aspects)
        count = min(aspects, self._rng.choices((0, 1, 2), weights=(3, 4, 3))[0])
        chosen = self._rng.sample(range(aspects), count)
        return [(aspect, -1 if self._rng.random() < 0.1 else 1) for aspect in chosen]

    def _worded(self, hint: Sequence[tuple[int, int]]) -> list[str]:
        if not hint:
            return []
        wanted = [(self._teacher.aspects[a], sign) for a, sign in hint]
        return hint_words(wanted, self._rng if self._rng.random() < 0.5 else None)

    def _word_ids(self, words: Sequence[str]) -> list[int]:
        return [self._vocabulary.ids[word] for word in words]

    def _padded(self, rows: Sequence[Sequence[int]], fill: int | None = None) -> torch.Tensor:
        value = self._vocabulary.ids[PAD] if fill is None else fill
        width = max(len(row) for row in rows)
        return torch.from_numpy(
            np.array([[*row, *[value] * (width - len(row))] for row in rows], dtype=np.int64)
        )

    def _distinct(self, count: int, size: int) -> torch.Tensor:
        """Rows of distinct item positions, uniform over the catalogue, ``[count, size]``."""
        if self._num_items <= 4 * size:
            keys = torch.rand((count, self._num_items), generator=self._generator)
            return keys.topk(size, dim=1).indices
        # Windows of one random order a batch: distinct within a row at little cost.
        relabel = torch.randperm(self._num_items, generator=self._generator)
        start = torch.randint(self._num_items, (count, 1), generator=self._generator)
        return relabel[(start + torch.arange(size)) % self._num_items]

    def _gumbel(self, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
        uniform = torch.rand(shape, generator=self._generator).clamp(1e-6, 1 - 1e-6)
        return -(-uniform.log()).log()
