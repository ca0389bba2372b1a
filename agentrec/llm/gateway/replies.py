"""What a chat model's reply says, and whether it is an answer at all."""

from __future__ import annotations

import json
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage

from agentrec.errors import ModelCallError

# How providers say that a filter stopped the answer; each has its own field and words for it.
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
    """A reply, whatever it says.

    Attributes:
        text: Its text; the JSON of the call where a tool was called to give structure.
        reported: Whether the model said how many tokens it took.
        input_tokens: Tokens read, 0 if the model does not say.
        output_tokens: Tokens written, 0 if the model does not say.
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
        structured: Whether a tool was bound to give structure: what it was called with is the
            answer then, and text beside it is talk.

    Returns:
        The reply. A text that a token limit cut off is an answer: whoever asked knows what to do
        with half a text. One that a filter stopped is a refusal even if there is some text.
    """
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    # Half a surrogate pair is no text: what is seen now is what a journal gives back.
    said = (_called(message) if structured else "") or str(message.text)
    text = said.encode("utf-8", "replace").decode("utf-8")
    return Reply(
        text,
        usage is not None,
        0 if usage is None else usage["input_tokens"],
        0 if usage is None else usage["output_tokens"],
        _problem(message, text),
    )


def _called(message: BaseMessage) -> str:
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
        line = "the model reached its token limit before it said anything"
    else:
        line = "the model answered nothing"
    return ModelCallError(line, kind="malformed")
