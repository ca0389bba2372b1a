"""Usage counts and OpenTelemetry metrics and spans for model calls.

Names follow the OpenTelemetry semantic conventions for generative AI where these define one.
Prompts, answers and error texts are never exported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from agentrec.llm.cost.prices import Price, PriceTable
from agentrec.llm.cost.usage import NodeUsage, Usage
from agentrec.llm.gateway.replies import Reply
from agentrec.timed_spans import METER, TimedSpan

# Boundaries are those that the conventions ask for.
_DURATION = METER.create_histogram(
    "gen_ai.client.operation.duration",
    unit="s",
    description="How long calls to a model took, without the wait for their turn.",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(14)],
)
_TOKENS = METER.create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens of a call, as the model reports them.",
    explicit_bucket_boundaries_advisory=[4**step for step in range(14)],
)
_RETRIES = METER.create_counter(
    "agentrec.call.retries", unit="{call}", description="Calls that were further attempts."
)
_CACHED = METER.create_counter(
    "agentrec.answers.cached",
    unit="{answer}",
    description="Answers that needed no call of their own.",
)
_MONEY = METER.create_counter(
    "agentrec.call.cost", description="What calls cost, where the price of their model is known."
)

# Where the conventions know a provider by another name than LangChain does.
_PROVIDERS = {
    "azure_ai": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}


class CallTelemetry:
    """Tells of the calls to one model.

    Args:
        name: The model's name at the gateway.
        prices: What its tokens cost, if that is known.
    """

    def __init__(self, name: str, prices: PriceTable) -> None:
        # Neither parameters nor the hash of an address: they would tell apart what is one model.
        bare = name.partition(" ")[0]
        provider, found, model = (bare.rpartition("@")[0] or bare).partition(":")
        self._model = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model if found else provider,
        }
        if found:
            self._model["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
        self._price = prices.price(name)
        self._currency = prices.currency
        self._by_node: dict[str, _NodeAttributes] = {}

    def call(self, node: str, attempt: int) -> CallSpan:
        """A call that is made now.

        Args:
            node: What it is for.
            attempt: Number of the attempt, from 1.
        """
        attributes = self._of(node)
        if attempt > 1:
            _RETRIES.add(1, attributes.all)
        return CallSpan(attributes, attempt, self._price)

    def cached(self, node: str) -> None:
        """An answer needed no call of its own."""
        _CACHED.add(1, self._of(node).all)

    def _of(self, node: str) -> _NodeAttributes:
        known = self._by_node.get(node)
        if known is None:
            told = {**self._model, "agentrec.node": node}
            currency = {"agentrec.currency": self._currency} if self._currency else {}
            known = self._by_node[node] = _NodeAttributes(
                told,
                {**told, "gen_ai.token.type": "input"},
                {**told, "gen_ai.token.type": "output"},
                {**told, **currency},
            )
        return known


@dataclass(frozen=True, slots=True)
class _NodeAttributes:
    """What the calls of a node are told with; made once, since every call needs them."""

    all: Mapping[str, str]
    read: Mapping[str, str]
    written: Mapping[str, str]
    paid: Mapping[str, str]


class CallSpan(TimedSpan):
    """One call, from when its turn has come.

    Args:
        attributes: What the calls of its node are told with.
        attempt: Number of the attempt, from 1.
        price: What tokens cost; ``None`` if that is not known.
    """

    __slots__ = ("_of_node", "_price")

    def __init__(self, attributes: _NodeAttributes, attempt: int, price: Price | None) -> None:
        name = f"chat {attributes.all['gen_ai.request.model']}"
        super().__init__(name, _DURATION, attributes.all, _kind_of, SpanKind.CLIENT)
        self.span.set_attribute("agentrec.attempt", attempt)
        self._of_node = attributes
        self._price = price

    def replied(self, reply: Reply) -> None:
        """The call came to something, be it a failure."""
        if reply.problem is not None:
            self.failed(reply.problem.kind)
        if not reply.reported:
            return
        _TOKENS.record(reply.input_tokens, self._of_node.read)
        _TOKENS.record(reply.output_tokens, self._of_node.written)
        self.span.set_attribute("gen_ai.usage.input_tokens", reply.input_tokens)
        self.span.set_attribute("gen_ai.usage.output_tokens", reply.output_tokens)
        if self._price is not None:
            money = self._price.of(reply.input_tokens, reply.output_tokens)
            _MONEY.add(money, self._of_node.paid)
            self.span.set_attribute("agentrec.cost", money)


def _kind_of(error: BaseException) -> str:
    # What a client raises has become a reply before; what comes through mostly ends the task.
    return "failed" if isinstance(error, Exception) else "cancelled"


class UsageMeter:
    """Counts by node.

    Args:
        telemetry: Told of answers that needed no call.
    """

    def __init__(self, telemetry: CallTelemetry) -> None:
        self._telemetry = telemetry
        self._made: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._retried: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._written: Counter[str] = Counter()

    def made(self, node: str, attempt: int) -> None:
        """A call is being made, as the attempt of that number, from 1."""
        self._made[node] += 1
        if attempt > 1:
            self._retried[node] += 1

    def failed(self, node: str) -> None:
        """It failed."""
        self._failed[node] += 1

    def paid(self, node: str, input_tokens: int, output_tokens: int) -> None:
        """It came to so many tokens."""
        self._read[node] += input_tokens
        self._written[node] += output_tokens

    def cached(self, node: str) -> None:
        """An answer needed no call of its own."""
        self._cached[node] += 1
        self._telemetry.cached(node)

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """By node: calls ``made``, those that ``failed``, and answers ``cached``."""
        return {
            "made": dict(self._made),
            "failed": dict(self._failed),
            "cached": dict(self._cached),
        }

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written in all."""
        return {"input": self._read.total(), "output": self._written.total()}

    def usage(self, price: Price | None) -> Usage:
        """All counts, with what they cost."""
        return Usage(
            {
                node: NodeUsage(
                    calls=self._made[node],
                    failures=self._failed[node],
                    retries=self._retried[node],
                    cached=self._cached[node],
                    input_tokens=self._read[node],
                    output_tokens=self._written[node],
                    money=None
                    if price is None
                    else price.of(self._read[node], self._written[node]),
                )
                for node in sorted({*self._made, *self._cached})
            }
        )
