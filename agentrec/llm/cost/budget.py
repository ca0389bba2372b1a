"""A hard budget: the most that a run may cost, over all its attempts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass

from agentrec.errors import InputError, ModelCallError
from agentrec.llm.cost.usage import PriceTable, Spending


@dataclass(frozen=True)
class Budget:
    """The most that may be spent; answers that were paid before stay free.

    Attributes:
        tokens: Tokens read and written, at least 0; ``None`` for no limit.
        money: Money in the price table's currency, at least 0; ``None`` for no limit.

    Raises:
        ValueError: If a number is out of range.
    """

    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 0:
            raise ValueError("a budget of tokens must be at least 0")
        if self.money is not None and not 0 <= self.money < math.inf:
            raise ValueError("a budget of money must be finite and at least 0")


@dataclass(frozen=True, eq=False)
class Reservation:
    """The estimated cost of a call in flight."""

    model: str
    tokens: int
    money: float


class BudgetAccount:
    """Spends a budget, for one gateway or several, in one event loop.

    A call reserves its estimated cost before it is made. If the rest is too small only because of
    other reservations, it waits for the real cost of those calls. Spending can exceed the budget
    only by what cannot be known: calls in flight that cost more than estimated, and charges for
    answers that never arrived. A model that reports no tokens is counted by estimates, and not at
    all when a run is resumed.

    Args:
        budget: The limits.
        prices: Needed for a budget of money.
        spendings: Payments of earlier attempts, from ``CallJournal.spendings``.

    Raises:
        InputError: If the budget is of money and a model in ``spendings`` has no price.
    """

    def __init__(
        self,
        budget: Budget,
        prices: PriceTable | None = None,
        spendings: Iterable[Spending] = (),
    ) -> None:
        self.budget = budget
        self.prices = PriceTable() if prices is None else prices
        self._tokens = 0
        self._money = 0.0
        self._reserved: set[Reservation] = set()
        self._tokens_reserved = 0
        self._money_reserved = 0.0
        self._line = asyncio.Lock()
        self._changed = asyncio.Event()
        for each in spendings:
            if each.tokens_read or each.tokens_written:
                self._tokens += each.tokens_read + each.tokens_written
                self._money += self._cost(each.model, each.tokens_read, each.tokens_written)

    @property
    def tokens_spent(self) -> int:
        """Tokens paid so far, earlier attempts included."""
        return self._tokens

    @property
    def money_spent(self) -> float:
        """Money paid so far, earlier attempts included; 0 without a budget of money."""
        return self._money

    def check(self, model: str) -> None:
        """Check that the model has a price if the budget is of money.

        Raises:
            InputError: If the budget is of money and the model has no price.
        """
        self._cost(model, 0, 0)

    async def reserve(self, model: str, input_tokens: int, output_tokens: int) -> Reservation:
        """Set aside the estimated cost of a call; first come, first served.

        Raises:
            ModelCallError: Of kind ``budget_spent``, if the budget has less left.
        """
        money = self._cost(model, input_tokens, output_tokens)
        wanted = Reservation(model, input_tokens + output_tokens, money)
        async with self._line:
            while not self._fits(wanted):
                if not self._reserved:
                    raise self._spent(wanted)
                self._changed.clear()
                await self._changed.wait()
            self._reserved.add(wanted)
            self._tokens_reserved += wanted.tokens
            self._money_reserved += wanted.money
        return wanted

    def settle(self, reservation: Reservation, input_tokens: int, output_tokens: int) -> None:
        """Replace a reservation by the real cost: 0 for a call not made or not answered."""
        self._reserved.remove(reservation)
        self._tokens_reserved -= reservation.tokens
        # Without reservations the sum is exactly 0, whatever was rounded.
        self._money_reserved = self._money_reserved - reservation.money if self._reserved else 0.0
        self._tokens += input_tokens + output_tokens
        self._money += self._cost(reservation.model, input_tokens, output_tokens)
        self._changed.set()

    def _cost(self, model: str, input_tokens: int, output_tokens: int) -> float:
        if self.budget.money is None:
            return 0.0
        price = self.prices.price(model)
        if price is None:
            raise InputError(
                f"a budget of money needs the price of {model or 'every model in the journal'!r}: "
                "name it in the prices, or give a budget of tokens",
                field="prices",
            )
        return price.of(input_tokens, output_tokens)

    def _fits(self, wanted: Reservation) -> bool:
        budget = self.budget
        tokens = self._tokens + self._tokens_reserved + wanted.tokens
        money = self._money + self._money_reserved + wanted.money
        return (budget.tokens is None or tokens <= budget.tokens) and (
            budget.money is None or money <= budget.money
        )

    def _spent(self, wanted: Reservation) -> ModelCallError:
        budget = self.budget
        if budget.tokens is not None and self._tokens + wanted.tokens > budget.tokens:
            line = (
                f"the budget of {budget.tokens} tokens is spent: {self._tokens} are paid and the "
                f"next call needs about {wanted.tokens}"
            )
        else:
            shown = self.prices.shown
            line = (
                f"the budget of {shown(budget.money or 0.0)} is spent: {shown(self._money)} are "
                f"paid and the next call costs about {shown(wanted.money)}"
            )
        line += "; raise the budget and run again, what was answered so far is kept"
        return ModelCallError(line, kind="budget_spent")
