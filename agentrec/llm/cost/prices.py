"""What tokens cost, as the user states it: prices change too often for a library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Price:
    """Price of a model's tokens.

    Attributes:
        input: Money for a million tokens read, at least 0.
        output: Money for a million tokens written, at least 0.

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
