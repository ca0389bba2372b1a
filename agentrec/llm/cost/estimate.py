"""Estimates of tokens, money and time: of one call, and of a whole run before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from langchain_core.messages import BaseMessage

from agentrec.llm.cost.usage import PriceTable
from agentrec.llm.rate_limits import CallLimits

# English prose, for most tokenizers. Only estimates before the first answer depend on it.
CHARACTERS_PER_TOKEN = 4.0
_FIRST_GUESS_OF_OUTPUT = 256


def count_characters(messages: Sequence[BaseMessage]) -> int:
    """Return the characters of a conversation; content other than text counts by its ``str``."""
    return sum(
        len(message.content if isinstance(message.content, str) else str(message.content))
        for message in messages
    )


class TokenEstimator:
    """Estimates a call's tokens from characters a token and tokens an answer so far.

    Answers differ in length by node, so each node has its own mean.
    """

    def __init__(self) -> None:
        self._characters = 0
        self._read = 0
        self._answers: Counter[str] = Counter()
        self._written: Counter[str] = Counter()

    def estimate(self, node: str, messages: Sequence[BaseMessage]) -> tuple[int, int]:
        """Return the estimated tokens read and written by a call, each at least 1."""
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
        """Learn from the reported tokens of a call; 0 means not reported."""
        if input_tokens > 0:
            self._characters += max(1, count_characters(messages))
            self._read += input_tokens
        if output_tokens > 0:
            self._answers[node] += 1
            self._written[node] += output_tokens


@dataclass(frozen=True)
class PlannedCalls:
    """Calls of one kind that a run will make.

    Attributes:
        node: What they are for.
        calls: Number of calls, at least 0.
        prompts: Some of their conversations, at least one; their mean length is used.
        output_tokens: Mean tokens of an answer, at least 0.
    """

    node: str
    calls: int
    prompts: Sequence[Sequence[BaseMessage]]
    output_tokens: float

    def __post_init__(self) -> None:
        if self.calls < 0 or self.output_tokens < 0 or not self.prompts:
            raise ValueError("planned calls need a prompt, and numbers of at least 0")


@dataclass(frozen=True)
class CallEstimate:
    """Estimate of planned calls.

    Attributes:
        calls: How many.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        money: What they cost; ``None`` if the model has no price.
        seconds: Least time they take under the limits.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    money: float | None
    seconds: float


def estimate_calls(
    planned: Sequence[PlannedCalls],
    model: str,
    *,
    prices: PriceTable | None = None,
    limits: CallLimits | None = None,
    seconds_per_call: float = 0.0,
) -> CallEstimate:
    """Estimate from the mean length of a few rendered prompts, without any call.

    Args:
        planned: The calls.
        model: The model's name, for its price.
        prices: What tokens cost.
        limits: Limits on the calls.
        seconds_per_call: Seconds that the endpoint takes for one call, at least 0.
    """
    limits = CallLimits() if limits is None else limits
    calls = sum(each.calls for each in planned)
    read = round(sum(each.calls * _mean_tokens(each) for each in planned))
    written = round(sum(each.calls * each.output_tokens for each in planned))
    price = None if prices is None else prices.price(model)
    minutes = max(
        0.0 if limits.requests_per_minute is None else calls / limits.requests_per_minute,
        0.0 if limits.tokens_per_minute is None else (read + written) / limits.tokens_per_minute,
    )
    in_flight = calls * seconds_per_call / limits.max_concurrency
    return CallEstimate(
        calls=calls,
        input_tokens=read,
        output_tokens=written,
        money=None if price is None else price.of(read, written),
        seconds=max(60 * minutes, in_flight),
    )


def _mean_tokens(planned: PlannedCalls) -> float:
    return fmean(count_characters(prompt) for prompt in planned.prompts) / CHARACTERS_PER_TOKEN
