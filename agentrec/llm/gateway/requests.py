"""What makes two requests the same: the key of a request, and how its answer is sampled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_SEEDS = 2**31


@dataclass(frozen=True)
class Draw:
    """How one answer of several is drawn.

    Attributes:
        temperature: At least 0. Larger: texts that differ more, and are worse on average.
        seed: Of the draw, where the provider takes one.

    Raises:
        ValueError: If the temperature is below 0.
    """

    temperature: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is at least 0, not {self.temperature}")

    @property
    def told(self) -> str:
        """What of it decides an answer, for the key of a request."""
        return f"temperature {self.temperature:g}, seed {self.seed}"

    def made_by(self, model: BaseChatModel) -> BaseChatModel:
        """A model that answers so, sharing the client of the one given.

        A model that has no such parameter stays as it is in that respect: some providers take no
        seed, some models no temperature.
        """
        fields = type(model).model_fields
        wanted = {"temperature": self.temperature, "seed": self.seed}
        known = {name: value for name, value in wanted.items() if name in fields}
        return model.model_copy(update=known)


def seed_of(seed: int, session_id: str, sample: int) -> int:
    """A seed of its own for every text of every session, 0 to 2**31 - 1."""
    content = f"{seed}\n{sample}\n{session_id}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % _SEEDS


def call_key(
    name: str,
    messages: Sequence[BaseMessage],
    sample: int = 0,
    schema: Mapping[str, object] | None = None,
    draw: Draw | None = None,
) -> str:
    """Content-derived key of a request.

    It covers all that a provider is sent of a message, and nothing that differs from run to run,
    such as message ids.

    Args:
        name: The model's name and parameters.
        messages: The conversation.
        sample: Number of the sample.
        schema: JSON schema that the answer is made to fit, if any.
        draw: How the answer is drawn, if not as the model's parameters say.
    """
    content = [name, sample, *(_content(message) for message in messages)]
    if schema is not None:
        content.append({"schema": schema})
    if draw is not None:
        content.append({"draw": draw.told})
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
