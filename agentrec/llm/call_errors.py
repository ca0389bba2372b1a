"""Turning what model clients raise into one typed failure with one clear line."""

from __future__ import annotations

import asyncio

from agentrec.errors import ModelCallError

_MAX_LINE = 300


def as_model_call_error(error: Exception) -> ModelCallError:
    """Classify an exception of any provider's client.

    Clients do not share an exception base, but nearly all HTTP ones carry ``status_code``, and
    the rest tell by the name of their class.
    """
    if isinstance(error, ModelCallError):
        return error
    status = getattr(error, "status_code", None)
    name = type(error).__name__
    line = " ".join(str(error).split())[:_MAX_LINE]
    if status == 429:
        return ModelCallError(f"the model's endpoint limits the rate: {line}", kind="rate_limited")
    if status in {401, 403}:
        return ModelCallError(
            f"the model's endpoint refuses the key (status {status}): {line}", kind="refused"
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or "Timeout" in name:
        return ModelCallError(f"the model did not answer in time: {line}", kind="timed_out")
    if isinstance(error, ConnectionError) or "Connect" in name:
        return ModelCallError(f"the model's endpoint cannot be reached: {line}", kind="unreachable")
    if status is not None:
        return ModelCallError(f"the model's endpoint answers status {status}: {line}")
    return ModelCallError(f"the model call failed: {name}: {line}")
