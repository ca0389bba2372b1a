"""Settings of the language model: which one, how fast, how patiently, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.llm.cost.budget import Budget
from agentrec.llm.cost.prices import Price, PriceTable
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import StructuredMode
from agentrec.llm.limits.limits import CallLimits

_SECTION = ConfigDict(frozen=True, extra="forbid")

# Said elsewhere, or there would be two of each.
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
    """Which model is asked, and what it is shown.

    Attributes:
        name: A chat model as ``provider:model``; ``None`` for the embedded one.
        temperature: How freely it answers, at least 0; ``provider`` leaves it to the provider,
            which some models insist on.
        base_url: Address of the endpoint; ``None`` for the provider's own or what its environment
            variable says. Larger deployments and local servers have one.
        parameters: What else the provider's class takes, such as ``max_tokens``; no keys.
        timeout: Seconds after which an attempt is given up, above 0. Smaller: a hanging endpoint
            holds up less; larger: slow models are not cut short.
        structured: ``auto`` to have answers fit a JSON schema where the model can, ``never`` not.
        shuffles: How many times a session is asked, each time with its candidates in another
            order, at least 1. More: steadier rankings for as many times the calls.
        max_candidates: How many candidates a prompt shows at most, at least 1.
        label_length: How many characters of an item's label a prompt shows at most, at least 2.
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
            raise ValueError(f'is a number of at least 0, or "provider"; not {temperature}')
        return temperature

    @field_validator("base_url")
    @classmethod
    def _address(cls, base_url: str | None) -> str | None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ValueError("is an address such as http://127.0.0.1:8000/v1")
        return base_url

    @field_validator("parameters")
    @classmethod
    def _said_once(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in sorted(parameters.keys() & _OTHERWISE.keys()):
            raise ValueError(f"{name} is set by {_OTHERWISE[name]}")
        return parameters

    @property
    def given(self) -> dict[str, object]:
        """What the model's class is made with, beside its name."""
        given: dict[str, object] = dict(self.parameters)
        if self.base_url is not None:
            given["base_url"] = self.base_url
        if self.temperature == "provider":
            given["temperature"] = None
        elif self.temperature != 0:
            # Zero is what a model is opened with anyway: said or not, it is the same model.
            given["temperature"] = self.temperature
        return given


class LimitsSettings(BaseModel):
    """How fast it is asked.

    Attributes:
        requests_per_minute: Most calls in any minute, above 0; ``None`` for no limit.
        tokens_per_minute: Most tokens, read and written, in any minute, above 0; ``None`` for no
            limit.
        max_concurrency: Most calls in flight, at least 1.
    """

    model_config = _SECTION

    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_concurrency: int = Field(default=64, ge=1)

    def limits(self) -> CallLimits:
        """As the gateway takes them."""
        return CallLimits(
            self.max_concurrency,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )


class RetriesSettings(BaseModel):
    """When a failed call is made again.

    Attributes:
        max_attempts: How often a call is made at most, at least 1. More: outlives longer
            disturbances, and a run that cannot succeed ends later.
        malformed_attempts: How many of its answers may be malformed, at least 1; each one is paid.
        first_wait: Bound of the first wait in seconds, at least 0; each further one is twice it.
        longest_wait: Bound of all waits in seconds, at least 0.
        longest_retry_after: The most seconds that an endpoint may ask to be left alone.
    """

    model_config = _SECTION

    max_attempts: int = Field(default=5, ge=1)
    malformed_attempts: int = Field(default=2, ge=1)
    first_wait: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    longest_wait: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    longest_retry_after: float = Field(default=300.0, ge=0, allow_inf_nan=False)

    def policy(self, timeout: float) -> RetryPolicy:
        """As the gateway takes it, with the seconds after which an attempt is given up."""
        return RetryPolicy(**self.model_dump(), timeout=timeout)


class BudgetSettings(BaseModel):
    """What a run may spend in all its attempts.

    Attributes:
        tokens: Tokens read and written, at least 0; ``None`` for no limit.
        money: Money in the currency of the prices, at least 0; ``None`` for no limit.
    """

    model_config = _SECTION

    tokens: int | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def budget(self) -> Budget | None:
        """As the gateway takes it; ``None`` where nothing is limited."""
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
    """What tokens cost, as you know it.

    Attributes:
        currency: What money is shown with.
        models: Prices by a model's name, with or without its provider.
    """

    model_config = _SECTION

    currency: str = "USD"
    models: Mapping[str, PriceSettings] = Field(default_factory=dict)

    def table(self) -> PriceTable:
        """As the gateway takes them."""
        prices = {name: Price(each.input, each.output) for name, each in self.models.items()}
        return PriceTable(prices, self.currency)
