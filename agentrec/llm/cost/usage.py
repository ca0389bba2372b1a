"""What calls came to: by node, and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentrec.llm.cost.prices import PriceTable


@dataclass(frozen=True)
class NodeUsage:
    """What was asked for one purpose.

    Attributes:
        calls: Calls made to the model, failed ones among them.
        failures: Those that failed.
        retries: Those that were further attempts.
        cached: Answers that needed no call of their own.
        input_tokens: Tokens read, as the model reports them.
        output_tokens: Tokens written, as the model reports them.
        money: What the tokens cost; ``None`` if a price is not known.
    """

    calls: int = 0
    failures: int = 0
    retries: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float | None = 0.0

    def __add__(self, other: NodeUsage) -> NodeUsage:
        money = None
        if self.money is not None and other.money is not None:
            money = self.money + other.money
        return NodeUsage(
            calls=self.calls + other.calls,
            failures=self.failures + other.failures,
            retries=self.retries + other.retries,
            cached=self.cached + other.cached,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            money=money,
        )


@dataclass(frozen=True)
class Usage:
    """What all calls came to.

    Attributes:
        by_node: By what the calls were for.
    """

    by_node: Mapping[str, NodeUsage]

    @property
    def total(self) -> NodeUsage:
        """The sum over nodes."""
        return sum(self.by_node.values(), NodeUsage())


@dataclass(frozen=True)
class Spending:
    """What a journal says was paid by one node to one model.

    Attributes:
        node: What the calls were for.
        model: The model's name at the gateway; empty in journals from before it was kept.
        answers: Answers kept.
        failures: Failed calls noted.
        input_tokens: Tokens read for the answers.
        output_tokens: Tokens written for the answers.
        lost_input_tokens: Tokens read for calls that failed though the model answered.
        lost_output_tokens: Tokens written for them.
        retries: Calls that were further attempts, successful or not.
    """

    node: str
    model: str
    answers: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    lost_input_tokens: int = 0
    lost_output_tokens: int = 0
    retries: int = 0

    @property
    def tokens_read(self) -> int:
        """All tokens read."""
        return self.input_tokens + self.lost_input_tokens

    @property
    def tokens_written(self) -> int:
        """All tokens written."""
        return self.output_tokens + self.lost_output_tokens


def lifelong_usage(spendings: Iterable[Spending], prices: PriceTable) -> Usage:
    """What a run came to in all its attempts, from its journal.

    ``cached`` is 0: a journal keeps what was paid and what failed.
    """
    by_node: dict[str, NodeUsage] = {}
    for each in spendings:
        price = prices.price(each.model)
        used = NodeUsage(
            calls=each.answers + each.failures,
            failures=each.failures,
            retries=each.retries,
            input_tokens=each.tokens_read,
            output_tokens=each.tokens_written,
            money=None if price is None else price.of(each.tokens_read, each.tokens_written),
        )
        by_node[each.node] = by_node.get(each.node, NodeUsage()) + used
    return Usage(by_node)
