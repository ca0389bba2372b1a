"""Read requests and write responses of ``POST /v1/chat/completions``."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

_OPTIONS = ("temperature", "seed", "stop")


@dataclass(frozen=True)
class ChatRequest:
    """A well-formed request.

    Attributes:
        body: The whole body.
        messages: The conversation.
        schema: JSON schema that the answer must fit: of ``response_format``, or of the parameters
            of the tool to call. ``{}`` for any JSON object, ``None`` for plain text.
        tool: Name of the tool to call, if any.
    """

    body: Mapping[str, Any]
    messages: list[BaseMessage]
    schema: Mapping[str, Any] | None
    tool: str | None

    @property
    def options(self) -> dict[str, Any]:
        """The options to pass to a model's ``invoke``."""
        return {name: self.body[name] for name in _OPTIONS if self.body.get(name) is not None}


def read_request(raw: bytes) -> ChatRequest:
    """Read the body of a request.

    Raises:
        ValueError: If it is not supported here; the text says why.
    """
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    if body.get("stream"):
        raise ValueError("streaming is not supported here")
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise ValueError("'messages' must be a list with at least one message")
    try:
        messages = convert_to_messages(given)
    except Exception as error:
        raise ValueError(f"'messages' cannot be read: {error}") from error
    try:
        tool, schema = _wanted(body)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"'response_format' or 'tools' cannot be read: {error!r}") from error
    return ChatRequest(body, messages, schema, tool)


def completion(
    request: ChatRequest, text: str, usage: Mapping[str, Any] | None, finish_reason: str = "stop"
) -> bytes:
    """Return the body of a response.

    Args:
        request: The request.
        text: The answer; the arguments if the request is for a tool call.
        usage: Tokens as the interface counts them, ``None`` to omit them.
        finish_reason: Why the model stopped.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if request.tool is not None:
        function = {"name": request.tool, "arguments": text}
        call = {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        finish_reason = "tool_calls"
    content: dict[str, Any] = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": str(request.body.get("model", "")),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage is not None:
        content["usage"] = usage
    return json.dumps(content).encode()


def usage_of(message: AIMessage, messages: Sequence[BaseMessage]) -> Mapping[str, Any]:
    """Return the tokens that a model reports; one a white-space separated word if it does not."""
    known = message.usage_metadata
    if known is None:
        return word_usage(messages, message.text)
    usage: dict[str, Any] = {
        "prompt_tokens": known["input_tokens"],
        "completion_tokens": known["output_tokens"],
        "total_tokens": known["input_tokens"] + known["output_tokens"],
    }
    cached = known.get("input_token_details", {}).get("cache_read")
    return usage if cached is None else usage | {"prompt_tokens_details": {"cached_tokens": cached}}


def word_usage(messages: Sequence[BaseMessage], text: str) -> Mapping[str, Any]:
    """Count one token a white-space separated word."""
    read = sum(len(message.text.split()) for message in messages)
    written = len(text.split())
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def problem(text: str) -> bytes:
    """Return the body of an error response."""
    error = {"message": text, "type": "invalid_request_error", "code": None}
    return json.dumps({"error": error}).encode()


def _wanted(body: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None]:
    choice = body.get("tool_choice", "auto")
    # A model that may choose answers in text; one that must call a tool calls it.
    if body.get("tools") and choice not in ("auto", "none", None):
        functions = {tool["function"]["name"]: tool["function"] for tool in body["tools"]}
        name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(functions))
        return name, functions[name].get("parameters") or {}
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return None, wanted["json_schema"].get("schema") or {}
    return None, {} if wanted.get("type") == "json_object" else None
