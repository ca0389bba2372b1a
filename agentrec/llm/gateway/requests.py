"""A request to a model, how its answer is sampled, and the key the answer is stored under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_SEEDS = 2**31


@dataclass(frozen=True)
class Sampling:
    """How one of several answers to the same question is sampled.

    Attributes:
        temperature: At least 0. Higher: texts differ more, and are worse on average.
        seed: Seed of this answer, for providers that take one.

    Raises:
        ValueError: If the temperature is below 0.
    """

    temperature: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be at least 0, not {self.temperature}")

    def apply_to(self, model: BaseChatModel) -> BaseChatModel:
        """Return a copy of a model that samples this way and shares its client.

        Parameters that the model does not have are left out: some providers take no seed, some
        models no temperature.
        """
        fields = type(model).model_fields
        wanted = {"temperature": self.temperature, "seed": self.seed}
        return model.model_copy(update={k: v for k, v in wanted.items() if k in fields})


def sample_seed(seed: int, session_id: str, sample: int) -> int:
    """Return a seed for one text of one session, from 0 to 2**31 - 1."""
    content = f"{seed}\n{sample}\n{session_id}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % _SEEDS


@dataclass(frozen=True)
class Request:
    """What a model is asked.

    Attributes:
        key: Content-derived key.
        node: What the call is for, in counts and the journal.
        messages: The conversation.
        schema: JSON schema that the answer is made to fit, if any.
        sampling: How the answer is sampled, if not as the model's own parameters say.
    """

    key: str
    node: str
    messages: Sequence[BaseMessage]
    schema: Mapping[str, Any] | None = None
    sampling: Sampling | None = None


def call_key(
    name: str,
    messages: Sequence[BaseMessage],
    sample: int = 0,
    schema: Mapping[str, object] | None = None,
    sampling: Sampling | None = None,
) -> str:
    """Return the content-derived key of a request.

    It covers everything that a provider receives, and nothing that differs from run to run, such
    as message ids.

    Args:
        name: The model's name and parameters.
        messages: The conversation.
        sample: Number of the sample.
        schema: JSON schema that the answer is made to fit, if any.
        sampling: How the answer is sampled, if not as the model's own parameters say.
    """
    content = [name, sample, *(_content(message) for message in messages)]
    if schema is not None:
        content.append({"schema": schema})
    if sampling is not None:
        # Journals of earlier versions have keys with these words.
        drawn = f"temperature {sampling.temperature:g}, seed {sampling.seed}"
        content.append({"draw": drawn})
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def _content(message: BaseMessage) -> list[object]:
    content: list[object] = [message.type, message.content]
    if message.name is not None:
        content.append({"name": message.name})
    if isinstance(message, AIMessage) and message.tool_calls:
        content.append({"tool_calls": message.tool_calls})
    if isinstance(message, ToolMessage):
        content.append({"tool_call_id": message.tool_call_id})
    return content
