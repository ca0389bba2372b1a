"""Settings of the language model: which one, its limits, retries, budget and prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.llm.cost.budget import Budget
from agentrec.llm.cost.usage import Price, PriceTable
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import StructuredMode
from agentrec.llm.rate_limits import CallLimits

_SECTION = ConfigDict(frozen=True, extra="forbid")

# Parameters that have a setting of their own.
_OTHERWISE: Mapping[str, str] = {
    "temperature": "llm.temperature",
    "base_url": "llm.base_url",
    "model": "llm.name",
    "model_name": "llm.name",
    "timeout": "llm.timeout",
    "request_timeout": "llm.timeout",
    "max_retries": "retries.max_attempts",
    "rate_limiter": "limits.requests_per_minute",
}


class LlmSettings(BaseModel):
    """Which model is called, and what it is shown.

    Attributes:
        name: A chat model as ``PROVIDER:MODEL``; ``None`` for the embedded one.
        temperature: Sampling temperature, at least 0; ``provider`` sends none, as some models
            require.
        base_url: Address of the endpoint, such as a local server; ``None`` for the provider's own,
            or what its environment variable says.
        parameters: Other parameters of the provider's class, such as ``max_tokens``; no secrets.
        timeout: Seconds after which an attempt is given up, above 0. Smaller: less time is lost
            to a hanging endpoint; larger: slow models can finish.
        structured: ``auto`` requests answers by JSON schema if the model supports it; ``never``
            does not.
        shuffles: How often a session is ranked, each time with its candidates in another order,
            at least 1. More: steadier rankings, for as many times the calls.
        max_candidates: Most candidates in a prompt, at least 1.
        label_length: Most characters of an item's label in a prompt, at least 2.
    """

    model_config = _SECTION

    name: str | None = None
    temperature: float | Literal["provider"] = Field(default=0.0)
    base_url: str | None = None
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    structured: StructuredMode = "auto"
    shuffles: int = Field(default=1, ge=1)
    max_candidates: int = Field(default=100, ge=1)
    label_length: int = Field(default=200, ge=2)

    @field_validator("temperature")
    @classmethod
    def _temperature_in_range(cls, temperature: float | str) -> float | str:
        if isinstance(temperature, float) and not 0 <= temperature < 1e3:
            raise ValueError(f'must be at least 0, or "provider"; not {temperature}')
        return temperature

    @field_validator("base_url")
    @classmethod
    def _address(cls, base_url: str | None) -> str | None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
        return base_url

    @field_validator("parameters")
    @classmethod
    def _set_once(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in sorted(parameters.keys() & _OTHERWISE.keys()):
            raise ValueError(f"{name} is set by {_OTHERWISE[name]}")
        return parameters

    @property
    def given(self) -> dict[str, object]:
        """The parameters of the provider's class."""
        given: dict[str, object] = dict(self.parameters)
        if self.base_url is not None:
            given["base_url"] = self.base_url
        if self.temperature == "provider":
            given["temperature"] = None
        elif self.temperature != 0:
            # Zero is the default: set or not, it is the same model.
            given["temperature"] = self.temperature
        return given


class LimitsSettings(BaseModel):
    """How fast the model is called.

    Attributes:
        requests_per_minute: Most calls in any minute, above 0; ``None`` for no limit.
        tokens_per_minute: Most tokens, read and written, in any minute, above 0; ``None`` for no
            limit.
        max_concurrency: Most calls at a time, at least 1.
    """

    model_config = _SECTION

    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_concurrency: int = Field(default=64, ge=1)

    def limits(self) -> CallLimits:
        """Return the gateway's limits."""
        return CallLimits(
            self.max_concurrency,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )


class RetriesSettings(BaseModel):
    """When a failed call is repeated.

    Attributes:
        max_attempts: Most attempts per call, at least 1. More: survives longer disturbances, but
            a run that cannot succeed ends later.
        malformed_attempts: Most malformed answers per call, at least 1; each one is paid.
        first_wait: Longest first wait in seconds, at least 0; each further one is up to twice that.
        longest_wait: Longest wait in seconds, at least 0.
        longest_retry_after: Longest wait in seconds that an endpoint may ask for, at least 0.
    """

    model_config = _SECTION

    max_attempts: int = Field(default=5, ge=1)
    malformed_attempts: int = Field(default=2, ge=1)
    first_wait: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    longest_wait: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    longest_retry_after: float = Field(default=300.0, ge=0, allow_inf_nan=False)

    def policy(self, timeout: float) -> RetryPolicy:
        """Return the gateway's policy, with the seconds after which an attempt is given up."""
        return RetryPolicy(**self.model_dump(), timeout=timeout)


class BudgetSettings(BaseModel):
    """What a run may spend, over all its attempts.

    Attributes:
        tokens: Tokens read and written, at least 0; ``None`` for no limit.
        money: Money in the currency of the prices, at least 0; ``None`` for no limit.
    """

    model_config = _SECTION

    tokens: int | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def budget(self) -> Budget | None:
        """Return the gateway's budget; ``None`` if nothing is limited."""
        if self.tokens is None and self.money is None:
            return None
        return Budget(self.tokens, self.money)


class PriceSettings(BaseModel):
    """What a model's tokens cost.

    Attributes:
        input: Money for a million tokens read, at least 0.
        output: Money for a million tokens written, at least 0.
    """

    model_config = _SECTION

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)


class PricesSettings(BaseModel):
    """What tokens cost; enter your provider's prices.

    Attributes:
        currency: Unit of money, for display.
        models: Prices by a model's name, with or without its provider.
    """

    model_config = _SECTION

    currency: str = "USD"
    models: Mapping[str, PriceSettings] = Field(default_factory=dict)

    def table(self) -> PriceTable:
        """Return the gateway's prices."""
        prices = {name: Price(each.input, each.output) for name, each in self.models.items()}
        return PriceTable(prices, self.currency)
