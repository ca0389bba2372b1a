"""Counts of model calls, for reports and as OpenTelemetry metrics and spans.

Names follow the OpenTelemetry semantic conventions for generative AI where these define one.
Prompts, answers and error texts are never exported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry.trace import SpanKind

from agentrec.llm.cost.usage import NodeUsage, Price, PriceTable, Usage
from agentrec.llm.gateway.replies import Reply
from agentrec.timed_spans import METER, TimedSpan

# Bucket boundaries are those of the conventions.
_DURATION = METER.create_histogram(
    "gen_ai.client.operation.duration",
    unit="s",
    description="Duration of calls to a model, without the wait for a permit.",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(14)],
)
_TOKENS = METER.create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens of a call, as the model reports them.",
    explicit_bucket_boundaries_advisory=[4**step for step in range(14)],
)
_RETRIES = METER.create_counter(
    "agentrec.call.retries", unit="{call}", description="Calls that were retries."
)
_CACHED = METER.create_counter(
    "agentrec.answers.cached",
    unit="{answer}",
    description="Answers that needed no call of their own.",
)
_MONEY = METER.create_counter(
    "agentrec.call.cost", description="Cost of calls whose model has a known price."
)

# Providers whose name in the conventions differs from LangChain's.
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


class CallMeter:
    """Counts the calls to one model and their tokens by node, and exports them.

    Args:
        name: The model's name at the gateway.
        prices: What its tokens cost, if that is known.
    """

    def __init__(self, name: str, prices: PriceTable) -> None:
        # Without parameters and the hash of an address, which would split one model into several.
        bare = name.partition(" ")[0]
        provider, colon, model = (bare.rpartition("@")[0] or bare).partition(":")
        self._model = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model if colon else provider,
        }
        if colon:
            self._model["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
        self._price = prices.price(name)
        self._currency = prices.currency
        self._attributes: dict[str, _NodeAttributes] = {}
        self._nodes: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def call(self, node: str, attempt: int) -> CallSpan:
        """Count a call that is made now, and return its span.

        Args:
            node: What it is for.
            attempt: Number of the attempt, from 1.
        """
        self._nodes[node]["made"] += 1
        self._nodes[node]["retried"] += attempt > 1
        attributes = self._attributes_of(node)
        if attempt > 1:
            _RETRIES.add(1, attributes.call)
        return CallSpan(attributes, attempt, self._price)

    def failed(self, node: str) -> None:
        """Count a call that failed."""
        self._nodes[node]["failed"] += 1

    def paid(self, node: str, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens of a call."""
        self._nodes[node]["input"] += input_tokens
        self._nodes[node]["output"] += output_tokens

    def cached(self, node: str) -> None:
        """Count an answer that needed no call of its own."""
        self._nodes[node]["cached"] += 1
        _CACHED.add(1, self._attributes_of(node).call)

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """By node: calls ``made``, those that ``failed``, and answers ``cached``."""
        return {
            kind: {node: counts[kind] for node, counts in self._nodes.items() if counts[kind]}
            for kind in ("made", "failed", "cached")
        }

    @property
    def tokens(self) -> Mapping[str, int]:
        """Total tokens read and written."""
        return {
            kind: sum(counts[kind] for counts in self._nodes.values())
            for kind in ("input", "output")
        }

    @property
    def usage(self) -> Usage:
        """All counts, with their cost."""
        price = self._price
        return Usage(
            {
                node: NodeUsage(
                    calls=counts["made"],
                    failures=counts["failed"],
                    retries=counts["retried"],
                    cached=counts["cached"],
                    input_tokens=counts["input"],
                    output_tokens=counts["output"],
                    money=None if price is None else price.of(counts["input"], counts["output"]),
                )
                for node, counts in sorted(self._nodes.items())
            }
        )

    def _attributes_of(self, node: str) -> _NodeAttributes:
        if node not in self._attributes:
            call = {**self._model, "agentrec.node": node}
            self._attributes[node] = _NodeAttributes(
                call,
                {**call, "gen_ai.token.type": "input"},
                {**call, "gen_ai.token.type": "output"},
                {**call, **({"agentrec.currency": self._currency} if self._currency else {})},
            )
        return self._attributes[node]


class _NodeAttributes(NamedTuple):
    """Attributes of a node's calls, input tokens, output tokens and cost; made once."""

    call: Mapping[str, str]
    input: Mapping[str, str]
    output: Mapping[str, str]
    cost: Mapping[str, str]


class CallSpan(TimedSpan):
    """The span of one call, from its permit on."""

    __slots__ = ("_node", "_price")

    def __init__(self, attributes: _NodeAttributes, attempt: int, price: Price | None) -> None:
        name = f"chat {attributes.call['gen_ai.request.model']}"
        super().__init__(name, _DURATION, attributes.call, _error_type, SpanKind.CLIENT)
        self.span.set_attribute("agentrec.attempt", attempt)
        self._node = attributes
        self._price = price

    def replied(self, reply: Reply) -> None:
        """Record a reply, be it a failure."""
        if reply.problem is not None:
            self.failed(reply.problem.kind)
        if not reply.reported:
            return
        _TOKENS.record(reply.input_tokens, self._node.input)
        _TOKENS.record(reply.output_tokens, self._node.output)
        self.span.set_attribute("gen_ai.usage.input_tokens", reply.input_tokens)
        self.span.set_attribute("gen_ai.usage.output_tokens", reply.output_tokens)
        if self._price is not None:
            money = self._price.of(reply.input_tokens, reply.output_tokens)
            _MONEY.add(money, self._node.cost)
            self.span.set_attribute("agentrec.cost", money)


def _error_type(error: BaseException) -> str:
    # A client's exceptions have become replies already; what is raised here mostly ends the task.
    return "failed" if isinstance(error, Exception) else "cancelled"
