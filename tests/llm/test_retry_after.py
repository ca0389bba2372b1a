import time
from email.utils import formatdate
from types import SimpleNamespace

import httpx
import pytest

from agentrec.llm.gateway.retry_after import retry_after_seconds


def told(headers: object) -> float | None:
    error = RuntimeError("x")
    error.response = SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
    return retry_after_seconds(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "20"}, 20),
        ({"RETRY-AFTER": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"x": "20"}, None),
        (None, None),
        (5, None),
        (httpx.Headers({"Retry-After": "7"}), 7),
    ],
)
def test_seconds(headers: object, seconds: float | None) -> None:
    assert told(headers) == seconds


def test_dates() -> None:
    later = told({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert later is not None
    assert 90 < later <= 100
    assert told({"retry-after": formatdate(time.time() - 100, usegmt=True)}) == 0


def test_an_error_without_a_response_says_nothing() -> None:
    assert retry_after_seconds(RuntimeError("x")) is None
