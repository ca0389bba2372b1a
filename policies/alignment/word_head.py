"""The embedded model's output as it is used: words alone, neither handles nor items."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.network.vocabulary import Vocabulary


class WordHead(nn.Module):
    """An output layer over the marks and words, tied to the first rows of the embedding.

    The network's own output is over items too, which no text was ever taught to keep low: they
    would take up most of the probability, and tuning would learn about them instead of words.

    Args:
        embedding: The network's embedding of tokens; it is not copied.
        words: How many of its rows are marks and words.
    """

    bias: None = None

    def __init__(self, embedding: nn.Embedding, words: int) -> None:
        super().__init__()
        # In a list, so that its parameter does not count as this layer's a second time.
        self._embedding = [embedding]
        self._words = words

    @property
    def weight(self) -> Tensor:
        """Shape ``[words, width]``; gradients reach the embedding."""
        return self._embedding[0].weight[: self._words]

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits ``[..., words]``."""
        return functional.linear(hidden, self.weight)


def speak_words_only(network: GPT2LMHeadModel, vocabulary: Vocabulary) -> None:
    """Give a network that output layer, in place."""
    head: Any = WordHead(network.transformer.wte, vocabulary.first_handle)
    network.lm_head = head
