"""Limits and money of a batch, divided among workers."""

from __future__ import annotations

import pytest

from agentrec.batch.budget_split import Spent, split_budget, split_limits
from agentrec.batch.partitions import partitions
from agentrec.errors import InputError
from agentrec.settings.run_settings import RunSettings


def test_limits_are_divided() -> None:
    settings = RunSettings.model_validate(
        {
            "limits": {
                "max_concurrency": 64,
                "requests_per_minute": 600.0,
                "tokens_per_minute": 9000.0,
            }
        }
    )
    limits = split_limits(settings, 3).limits
    assert limits.max_concurrency == 21
    assert limits.requests_per_minute == pytest.approx(200.0)
    assert limits.tokens_per_minute == pytest.approx(3000.0)
    with pytest.raises(InputError, match="65 workers cannot share 64 calls"):
        split_limits(settings, 65)


def test_the_rest_of_a_budget_is_divided() -> None:
    settings = RunSettings.model_validate({"budget": {"tokens": 1000, "money": 2.0}})
    first, second, third = partitions(3)
    spent = {first: Spent(100, 0.5), second: Spent(300, 0.5), third: Spent(200, 0.0)}
    split = [split_budget(settings, one, spent, [second, third]) for one in (second, third)]
    # 400 tokens and 1.0 are left for two.
    assert [one.budget.tokens for one in split] == [500, 400]
    assert [one.budget.money for one in split] == [pytest.approx(1.0), pytest.approx(0.5)]
