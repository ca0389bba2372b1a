"""What makes two requests the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentrec.llm.gateway.draws import Draw


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
