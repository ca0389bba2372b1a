"""Turning what model clients raise into one typed failure with one clear, harmless line."""

from __future__ import annotations

import re
import socket

from agentrec.catalog import clean_text
from agentrec.errors import ModelCallError

_MAX_LINE = 300
_MASK = "***"

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


def as_model_call_error(error: Exception) -> ModelCallError:
    """Classify an exception of any provider's client.

    Clients do not share an exception base, but nearly all HTTP ones carry ``status_code`` (or a
    ``response`` that does), and the rest tell by the name of their class or of one it is made
    from. What looks like a key or a password is masked in the line; the exception itself, which
    a traceback would show, is left as it is.
    """
    if isinstance(error, ModelCallError):
        return error
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    names = " ".join(each.__name__ for each in type(error).__mro__)
    line = masked(str(error)) or type(error).__name__
    if status == 429 or (status is None and "RateLimit" in names):
        return ModelCallError(f"the model's endpoint limits the rate: {line}", kind="rate_limited")
    if status in {401, 403}:
        return ModelCallError(
            f"the model's endpoint refuses the key (status {status}): {line}", kind="refused"
        )
    if status in {408, 504} or isinstance(error, TimeoutError) or "Timeout" in names:
        return ModelCallError(f"the model did not answer in time: {line}", kind="timed_out")
    if status is not None:
        return ModelCallError(f"the model's endpoint answers status {status}: {line}")
    if isinstance(error, (ConnectionError, socket.gaierror)) or re.search(
        r"Connect|NetworkError|RemoteProtocolError", names
    ):
        return ModelCallError(f"the model's endpoint cannot be reached: {line}", kind="unreachable")
    return ModelCallError(f"the model call failed: {type(error).__name__}: {line}")


def masked(text: str) -> str:
    """One line of a foreign message, capped, with three stars for what looks like a secret."""
    # Before the cap: half a key is no longer recognised as one.
    for secret in _SECRETS:
        text = secret.sub(rf"\g<kept>{_MASK}", text)
    return clean_text(text, _MAX_LINE)
