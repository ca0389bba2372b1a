"""Read what a model's client returns or raises: an answer, or one typed failure without secrets."""

from __future__ import annotations

import json
import math
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from langchain_core.messages import AIMessage, BaseMessage

from agentrec.errors import FailureKind, ModelCallError
from agentrec.llm.secrets import masked

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
# In an error's text or code these mean that paying helps and waiting does not.
_BILLING = re.compile(r"insufficient_quota|billing_hard_limit|credit balance is too low", re.I)
_CONTENT_FILTER = re.compile(r"content.?filter|content.?policy|ResponsibleAI|safety system", re.I)
# These status codes describe a passing state of the endpoint, not a fault of the request.
_TRANSIENT_STATUS = frozenset({409, 425, 500, 502, 503, 529})
_MAX_CAUSES = 4


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


class ClientError(Exception):
    """The text of a client's exception without secrets and without its frames."""


def as_model_call_error(error: Exception, secrets: Sequence[str] = ()) -> ModelCallError:
    """Classify an exception of any provider's client.

    Clients share no exception base class. Nearly all HTTP clients set ``status_code`` (or a
    ``response`` that has one); the others show the kind in the name of the class or a base class.
    Whatever looks like a key or a password is masked. The exception itself does not become the
    cause: its message, which a traceback would show, and its frames may hold the key. A
    ``ClientError`` with the masked lines of the exception and its causes takes its place.

    Args:
        error: What the client raised.
        secrets: Texts to mask wherever they occur, such as the client's key.
    """
    if isinstance(error, ModelCallError):
        return error
    typed = _classified(error, secrets)
    typed.__cause__ = ClientError(_masked_causes(error, secrets))
    return typed


def retry_after_seconds(error: BaseException) -> float | None:
    """Read ``retry-after-ms`` or ``retry-after`` (seconds or a date) from an error's response.

    Args:
        error: What a client raised.

    Returns:
        Seconds, at least 0; ``None`` if there is no response or no readable header.
    """
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        given = {str(name).lower(): str(value) for name, value in dict(headers).items()}
    except (TypeError, ValueError):
        return None
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(given.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(given.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _classified(error: Exception, secrets: Sequence[str]) -> ModelCallError:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    names = " ".join(each.__name__ for each in type(error).__mro__)
    line = masked(str(error), secrets) or type(error).__name__
    wait = retry_after_seconds(error)
    text = f"{getattr(error, 'code', '')} {error}"

    def typed(problem: str, kind: FailureKind, transient: bool | None = None) -> ModelCallError:
        return ModelCallError(
            problem, kind=kind, transient=transient, status=status, retry_after=wait
        )

    if status in {402, 429} and (status == 402 or _BILLING.search(text)):
        problem = f"billing or quota error at the model's endpoint (status {status}): {line}"
        return typed(problem, "refused")
    if status == 429 or (status is None and "RateLimit" in names):
        return typed(f"the model's endpoint limits the rate: {line}", "rate_limited")
    if status in {401, 403}:
        return typed(f"the model's endpoint refuses the key (status {status}): {line}", "refused")
    if "ContentFilter" in names or (status == 400 and _CONTENT_FILTER.search(text)):
        return typed(f"the model's endpoint refuses the content: {line}", "refused")
    if status in {408, 504} or isinstance(error, TimeoutError) or "Timeout" in names:
        return typed(f"the model did not answer in time: {line}", "timed_out")
    if isinstance(status, int) and status >= 400:
        problem = f"the model's endpoint answers status {status}: {line}"
        return typed(problem, "failed", transient=status in _TRANSIENT_STATUS)
    if isinstance(error, ValueError) and error.args and isinstance(error.args[0], dict):
        # Some endpoints send errors with a success status.
        return typed(f"the model's endpoint answers an error: {line}", "failed", transient=True)
    if _is_unreadable(error, names):
        problem = f"the model's answer cannot be read: {type(error).__name__}: {line}"
        return typed(problem, "malformed")
    if isinstance(error, (ConnectionError, socket.gaierror)) or re.search(
        r"Connect|NetworkError|RemoteProtocolError", names
    ):
        return typed(f"the model's endpoint cannot be reached: {line}", "unreachable")
    return typed(f"the model call failed: {type(error).__name__}: {line}", "failed")


def _is_unreadable(error: Exception, names: str) -> bool:
    # The body is not JSON, or JSON without the parts of an answer: a proxy's error page, or an
    # answer cut off on the way. LengthFinish: a structured answer stopped at its token limit.
    if re.search(r"JSONDecode|ResponseValidation|DecodingError|LengthFinish", names):
        return True
    if isinstance(error, IndexError):
        return True
    return bool(re.search(r"for 'choices'|Unexpected response type|for \w*Message\b", str(error)))


def _masked_causes(error: BaseException, secrets: Sequence[str]) -> str:
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(lines) < _MAX_CAUSES:
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        lines.append(f"{kind}: {masked(str(cause), secrets)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return " <- ".join(lines)
