"""What the model calls of a run came to, over all its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agentrec.atomic_files import write_atomically
from agentrec.llm.cost.usage import NodeUsage, PriceTable, Spending, lifelong_usage
from agentrec.llm.journal import CallJournal


class UsageRow(BaseModel):
    """What calls for one purpose came to.

    Attributes:
        calls: Calls made, failed ones among them.
        failures: Those that failed.
        retries: Those that were further attempts.
        input_tokens: Tokens read, as the model reports them.
        output_tokens: Tokens written, as the model reports them.
        money: What the tokens cost; ``None`` if a price is not known.
    """

    model_config = ConfigDict(frozen=True)

    calls: int
    failures: int
    retries: int
    input_tokens: int
    output_tokens: int
    money: float | None

    @classmethod
    def of(cls, used: NodeUsage) -> UsageRow:
        """The row of some usage."""
        return cls.model_validate(asdict(used))


class UsageReport(BaseModel):
    """What the calls of a run came to.

    Attributes:
        currency: What money is counted in.
        by_node: By what the calls were for.
        total: The sum.
    """

    model_config = ConfigDict(frozen=True)

    currency: str
    by_node: Mapping[str, UsageRow]
    total: UsageRow

    @classmethod
    async def of(cls, journal: CallJournal, prices: PriceTable) -> UsageReport:
        """What a journal says."""
        return cls.of_spendings(await journal.spendings(), prices)

    @classmethod
    def of_spendings(cls, spendings: Iterable[Spending], prices: PriceTable) -> UsageReport:
        """Return the report of what one or several journals say."""
        usage = lifelong_usage(spendings, prices)
        return cls(
            currency=prices.currency,
            by_node={node: UsageRow.of(used) for node, used in usage.by_node.items()},
            total=UsageRow.of(usage.total),
        )

    @classmethod
    def load(cls, file: Path) -> UsageReport:
        """Read one that was saved."""
        return cls.model_validate_json(file.read_bytes())

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        write_atomically(file, (self.model_dump_json(indent=2) + "\n").encode())
