"""What a run will cost and how long it will take, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from langchain_core.messages import BaseMessage

from agentrec.llm.cost.prices import PriceTable
from agentrec.llm.cost.token_estimates import CHARACTERS_PER_TOKEN, count_characters
from agentrec.llm.limits.limits import CallLimits


@dataclass(frozen=True)
class PlannedCalls:
    """Calls of one kind that a run will make.

    Attributes:
        node: What they are for.
        calls: How many, at least 0.
        prompts: A few of their conversations, at least one; their mean length counts.
        output_tokens: Tokens of an answer on average, at least 0.
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
    """What planned calls come to.

    Attributes:
        calls: How many.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        money: What they cost; ``None`` if the model has no price.
        seconds: How long they take at least under the limits.
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
    """Estimate from the mean length of a few rendered prompts, without calling anything.

    Args:
        planned: The calls.
        model: The model's name, for its price.
        prices: What tokens cost.
        limits: What slows the calls down.
        seconds_per_call: How long the endpoint takes for one call, at least 0.
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
