"""How long an endpoint asks to be left alone."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime


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
