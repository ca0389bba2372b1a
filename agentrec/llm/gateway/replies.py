"""Read a chat model's reply, and decide whether it is an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage

from agentrec.errors import ModelCallError

# Each provider has its own field and word for an answer that a filter stopped.
_REASON_FIELDS = ("finish_reason", "stop_reason", "stopReason")
_FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "refusal",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "guardrail_intervened",
    }
)
_CUT_OFF = frozenset({"length", "max_tokens", "model_length"})


@dataclass(frozen=True)
class Reply:
    """A reply to a call.

    Attributes:
        text: Its text; the arguments of the tool call where a tool gives the structure.
        reported: Whether the model reported its tokens.
        input_tokens: Tokens read, 0 if not reported.
        output_tokens: Tokens written, 0 if not reported.
        problem: Why this is no answer; ``None`` if it is one.
    """

    text: str
    reported: bool
    input_tokens: int
    output_tokens: int
    problem: ModelCallError | None


def read_reply(message: BaseMessage, *, structured: bool = False) -> Reply:
    """Read a reply.

    Args:
        message: The reply.
        structured: Whether a tool was bound to give structure: its arguments are then the answer,
            and text beside them is ignored.

    Returns:
        The reply. A text that a token limit cut off is an answer: the caller decides what to do
        with half a text. An answer that a filter stopped is a refusal even if it has some text.
    """
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    raw = (_tool_arguments(message) if structured else "") or str(message.text)
    # Half a surrogate pair cannot be stored: the text now is the text a journal gives back.
    text = raw.encode("utf-8", "replace").decode("utf-8")
    return Reply(
        text,
        usage is not None,
        0 if usage is None else usage["input_tokens"],
        0 if usage is None else usage["output_tokens"],
        _problem(message, text),
    )


def _tool_arguments(message: BaseMessage) -> str:
    if not isinstance(message, AIMessage):
        return ""
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"], ensure_ascii=False)
    if message.invalid_tool_calls:
        return message.invalid_tool_calls[0]["args"] or ""
    return ""


def _problem(message: BaseMessage, text: str) -> ModelCallError | None:
    reasons = {
        str(message.response_metadata.get(field, "")).lower().rpartition(".")[2]
        for field in _REASON_FIELDS
    }
    refusal = message.additional_kwargs.get("refusal")
    if reasons & _FILTERED or (refusal and not text.strip()):
        return ModelCallError("the model refuses to answer this", kind="refused")
    if text.strip():
        return None
    if reasons & _CUT_OFF:
        line = "the model reached its token limit before it wrote any text"
    else:
        line = "the model's answer is empty"
    return ModelCallError(line, kind="malformed")
