"""Prices, and usage: calls, tokens and cost, by node and in total."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Price:
    """Price of a million tokens read (``input``) and written (``output``), each at least 0.

    Raises:
        ValueError: If a price is negative or not finite.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        if not (0 <= self.input < math.inf and 0 <= self.output < math.inf):
            raise ValueError("prices must be finite and at least 0")

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return the price of so many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / 1_000_000


@dataclass(frozen=True)
class PriceTable:
    """Prices by model.

    Attributes:
        prices: By the model's name: the gateway's name with provider and parameters, without
            parameters (``openai:gpt-4o-mini``), or without provider (``gpt-4o-mini``). The most
            exact name counts.
        currency: Shown behind amounts, such as ``USD``.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    currency: str = ""

    def price(self, model: str) -> Price | None:
        """Return the price of a model; ``None`` if the table does not have it."""
        # A space precedes the parameters, an at sign the hash of the endpoint's address.
        bare = model.partition(" ")[0]
        plain = bare.rpartition("@")[0] or bare
        for name in (model, bare, plain, plain.partition(":")[2]):
            if name in self.prices:
                return self.prices[name]
        return None

    def shown(self, money: float) -> str:
        """Return an amount as text, such as ``0.0132 USD``."""
        digits = 2 if money >= 100 else 4
        return f"{money:.{digits}f} {self.currency}".strip()


@dataclass(frozen=True)
class NodeUsage:
    """Usage of one node.

    Attributes:
        calls: Calls made to the model, including failed ones.
        failures: Failed calls.
        retries: Calls that were retries.
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
        counts = (each.name for each in fields(self) if each.name != "money")
        return NodeUsage(**{n: getattr(self, n) + getattr(other, n) for n in counts}, money=money)


@dataclass(frozen=True)
class Usage:
    """Usage of all nodes.

    Attributes:
        by_node: Usage by node.
    """

    by_node: Mapping[str, NodeUsage]

    @property
    def total(self) -> NodeUsage:
        """Sum over nodes."""
        return sum(self.by_node.values(), NodeUsage())


@dataclass(frozen=True)
class Spending:
    """What one node paid to one model, from a journal.

    Attributes:
        node: What the calls were for.
        model: The model's name at the gateway.
        answers: Answers kept.
        failures: Failed calls noted.
        input_tokens: Tokens read for the answers.
        output_tokens: Tokens written for the answers.
        lost_input_tokens: Tokens read for failed calls that the model answered.
        lost_output_tokens: Tokens written for them.
        retries: Calls that were retries, successful or not.
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
    """Return the usage of a run over all its attempts, from its journal.

    ``cached`` is 0: a journal has only paid and failed calls.
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
