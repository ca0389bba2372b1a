"""Turn what model clients raise into one typed failure with one clear line without secrets."""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime

from pydantic import SecretBytes, SecretStr

from agentrec.catalog import clean_text
from agentrec.errors import FailureKind, ModelCallError


def retry_after_seconds(error: BaseException) -> float | None:
    """Read the wait from the headers of the response that an exception carries.

    Understood are ``retry-after-ms``, and ``retry-after`` as seconds or as a date.

    Args:
        error: What a client raised.

    Returns:
        Seconds, at least 0; ``None`` where no response or no readable header is there.
    """
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        given = {str(name).lower(): str(value) for name, value in dict(headers).items()}
    except (TypeError, ValueError):
        return None
    return _seconds(given)


def _seconds(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name not in headers:
            continue
        seconds = _number(headers[name], unit)
        if seconds is None and unit == 1.0:
            seconds = _until(headers[name])
        if seconds is not None:
            return seconds
    return None


def _number(text: str, unit: float) -> float | None:
    try:
        seconds = float(text) * unit
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


_MAX_LINE = 300
_MASK = "***"
_SHORTEST_KEY = 8

_SECRETS = (
    # sk-..., pk_..., gsk_..., xai-..., hf_..., AIza...: the shapes that providers give keys.
    re.compile(r"\b(?P<kept>(?:g?sk|[pr]k|xai|hf)[-_]|AIza)[\w\-*]{6,}"),
    re.compile(r"(?i)(?P<kept>\b(?:bearer|basic)\s+)[^\s\"',}]+"),
    # A password in an address.
    re.compile(r"(?P<kept>://)[^/\s@]+(?=@)"),
    # What looks random, or is too long for a word, shortly after a word for a secret.
    re.compile(
        r"(?i)(?P<kept>(?:key|token|secret|password|authorization)\b.{0,24}?)"
        r"(?<![\w\-])(?:(?=[a-z_\-+/=.~*]*\d)[\w\-+/=.~*]{12,}|[\w\-+/=.~*]{24,})"
    ),
)


# Where they stand in an error's text or code, paying more helps and waiting does not.
_NO_MONEY = re.compile(r"insufficient_quota|billing_hard_limit|credit balance is too low", re.I)
_FILTERED = re.compile(r"content.?filter|content.?policy|ResponsibleAI|safety system", re.I)
# Of status codes, those that tell of a passing state of the endpoint and not of the request.
_PASSING = frozenset({409, 425, 500, 502, 503, 529})
_DEEPEST_CAUSE = 4


class ClientError(Exception):
    """What a provider's client raised, as text without secrets and without its frames."""


def as_model_call_error(error: Exception, secrets: Sequence[str] = ()) -> ModelCallError:
    """Classify an exception of any provider's client.

    Clients do not share an exception base, but nearly all HTTP ones carry ``status_code`` (or a
    ``response`` that does), and the rest tell by the name of their class or of one it is made
    from. What looks like a key or a password is masked. The exception itself does not become the
    cause: its message, which a traceback would show, and its frames may hold the key. A
    ``ClientError`` with the masked lines of the exception and of its own causes stands in.

    Args:
        error: What the client raised.
        secrets: Texts to mask wherever they stand, such as the key the client was given.
    """
    if isinstance(error, ModelCallError):
        return error
    typed = _classified(error, secrets)
    typed.__cause__ = ClientError(_told(error, secrets))
    return typed


def secrets_of(model: object) -> tuple[str, ...]:
    """The keys that a chat model was made with, as far as its fields declare them secret."""
    values = (each for each in vars(model).values() if isinstance(each, (SecretStr, SecretBytes)))
    revealed = (each.get_secret_value() for each in values)
    texts = (
        each if isinstance(each, str) else each.decode("utf-8", "replace") for each in revealed
    )
    # Shorter ones are no keys, and masking them would take harmless words along.
    return tuple(text for text in texts if len(text) >= _SHORTEST_KEY)


def _classified(error: Exception, secrets: Sequence[str]) -> ModelCallError:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    names = " ".join(each.__name__ for each in type(error).__mro__)
    line = masked(str(error), secrets) or type(error).__name__
    wait = retry_after_seconds(error)
    said = f"{getattr(error, 'code', '')} {error}"

    def typed(problem: str, kind: FailureKind, transient: bool | None = None) -> ModelCallError:
        return ModelCallError(
            problem, kind=kind, transient=transient, status=status, retry_after=wait
        )

    if status in {402, 429} and (status == 402 or _NO_MONEY.search(said)):
        return typed(f"the model's endpoint wants to be paid (status {status}): {line}", "refused")
    if status == 429 or (status is None and "RateLimit" in names):
        return typed(f"the model's endpoint limits the rate: {line}", "rate_limited")
    if status in {401, 403}:
        return typed(f"the model's endpoint refuses the key (status {status}): {line}", "refused")
    if "ContentFilter" in names or (status == 400 and _FILTERED.search(said)):
        return typed(f"the model's endpoint refuses the content: {line}", "refused")
    if status in {408, 504} or isinstance(error, TimeoutError) or "Timeout" in names:
        return typed(f"the model did not answer in time: {line}", "timed_out")
    if isinstance(status, int) and status >= 400:
        problem = f"the model's endpoint answers status {status}: {line}"
        return typed(problem, "failed", transient=status in _PASSING)
    if isinstance(error, ValueError) and error.args and isinstance(error.args[0], dict):
        # Some endpoints send their errors with a status that says all is well.
        return typed(f"the model's endpoint answers an error: {line}", "failed", transient=True)
    if _is_garbled(error, names):
        return typed(
            f"the model's answer cannot be read: {type(error).__name__}: {line}", "malformed"
        )
    if isinstance(error, (ConnectionError, socket.gaierror)) or re.search(
        r"Connect|NetworkError|RemoteProtocolError", names
    ):
        return typed(f"the model's endpoint cannot be reached: {line}", "unreachable")
    return typed(f"the model call failed: {type(error).__name__}: {line}", "failed")


def _is_garbled(error: Exception, names: str) -> bool:
    # A body that is no JSON, or JSON without what an answer has: a proxy's error page, or cut off
    # on the way. LengthFinishReason: an answer in a schema that stopped at its token limit.
    if re.search(r"JSONDecode|ResponseValidation|DecodingError|LengthFinish", names):
        return True
    if isinstance(error, IndexError):
        return True
    return bool(re.search(r"for 'choices'|Unexpected response type|for \w*Message\b", str(error)))


def _told(error: BaseException, secrets: Sequence[str]) -> str:
    lines: list[str] = []
    each: BaseException | None = error
    while each is not None and len(lines) < _DEEPEST_CAUSE:
        kind = f"{type(each).__module__}.{type(each).__qualname__}"
        lines.append(f"{kind}: {masked(str(each), secrets)}")
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return " <- ".join(lines)


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """One line of a foreign message, capped, with three stars for what looks like a secret.

    Args:
        text: The message.
        secrets: Texts that are secrets whatever they look like.
    """
    # Before the cap: half a key is no longer recognised as one.
    for known in secrets:
        text = text.replace(known, _MASK)
    for secret in _SECRETS:
        text = secret.sub(rf"\g<kept>{_MASK}", text)
    return clean_text(text, _MAX_LINE)
