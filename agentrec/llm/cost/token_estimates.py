"""How many tokens a call will read and write, guessed from the calls before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

# English prose, for most tokenizers. Only what is guessed before the first answer rests on it.
CHARACTERS_PER_TOKEN = 4.0
_FIRST_GUESS_OF_OUTPUT = 256


def count_characters(messages: Sequence[BaseMessage]) -> int:
    """Characters of a conversation; what is no text counts as its Python form is long."""
    return sum(
        len(message.content if isinstance(message.content, str) else str(message.content))
        for message in messages
    )


class TokenEstimator:
    """Learns characters a token and tokens an answer from what the model reports.

    Answers of different nodes differ in length, so each node has a mean of its own.
    """

    def __init__(self) -> None:
        self._characters = 0
        self._read = 0
        self._answers: Counter[str] = Counter()
        self._written: Counter[str] = Counter()

    def estimate(self, node: str, messages: Sequence[BaseMessage]) -> tuple[int, int]:
        """Tokens that a call will read and write, each at least 1."""
        per_token = CHARACTERS_PER_TOKEN
        if self._read:
            per_token = self._characters / self._read
        read = round(count_characters(messages) / per_token)
        answers, written = self._answers[node], self._written[node]
        if not answers:
            answers, written = self._answers.total(), self._written.total()
        return max(1, read), max(1, round(written / answers) if answers else _FIRST_GUESS_OF_OUTPUT)

    def learn(
        self, node: str, messages: Sequence[BaseMessage], input_tokens: int, output_tokens: int
    ) -> None:
        """Take in what a call came to; one for which nothing was reported teaches nothing."""
        if input_tokens > 0:
            self._characters += max(1, count_characters(messages))
            self._read += input_tokens
        if output_tokens > 0:
            self._answers[node] += 1
            self._written[node] += output_tokens
