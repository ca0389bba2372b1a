import json
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agentrec.errors import ModelCallError
from agentrec.llm.gateway.replies import (
    ClientError,
    as_model_call_error,
    retry_after_seconds,
)
from agentrec.llm.secrets import masked, secrets_of

KEY = "sk-abc123DEF456ghi789JKL012mno345"

# The HTTP library that openai is built on is not in every version the same.
_openai = vars(openai._exceptions)
_http: Any = _openai.get("httpx2") or _openai["httpx"]
REQUEST = _http.Request("POST", "https://api.example.com/v1/chat/completions")


def status(kind: Callable[..., Exception], code: int, message: str = "no") -> Exception:
    return kind(message, response=_http.Response(code, request=REQUEST), body=None)


class SomeReadTimeoutError(Exception):
    pass


class EndpointConnectionError(Exception):
    pass


class RateLimitExceededError(Exception):
    pass


def from_httpx(code: int) -> Exception:
    request = httpx.Request("GET", "https://x.example")
    return httpx.HTTPStatusError("x", request=request, response=httpx.Response(code))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (status(openai.RateLimitError, 429), "rate_limited", "limits the rate"),
        (status(openai.AuthenticationError, 401), "refused", "status 401"),
        (status(openai.PermissionDeniedError, 403), "refused", "status 403"),
        (status(openai.BadRequestError, 400, "too long"), "failed", "status 400: too long"),
        (status(openai.NotFoundError, 404), "failed", "status 404"),
        (status(openai.InternalServerError, 500), "failed", "status 500"),
        (status(openai.APIStatusError, 408), "timed_out", "in time"),
        (status(openai.InternalServerError, 504), "timed_out", "in time"),
        (openai.APITimeoutError(REQUEST), "timed_out", "in time"),
        (openai.APIConnectionError(request=REQUEST), "unreachable", "cannot be reached"),
        (openai.OpenAIError("odd"), "failed", "OpenAIError: odd"),
        (httpx.ConnectError("refused"), "unreachable", "refused"),
        (httpx.ReadError("reset"), "unreachable", "reset"),
        (httpx.RemoteProtocolError("hung up"), "unreachable", "hung up"),
        (httpx.ConnectTimeout("slow"), "timed_out", "slow"),
        (from_httpx(429), "rate_limited", "limits"),
        (from_httpx(401), "refused", "status 401"),
        (TimeoutError(), "timed_out", "TimeoutError"),
        (TimeoutError("timed out"), "timed_out", "timed out"),
        (ConnectionResetError("reset by peer"), "unreachable", "reset by peer"),
        (socket.gaierror(-2, "Name or service not known"), "unreachable", "not known"),
        (SomeReadTimeoutError("x"), "timed_out", "x"),
        (EndpointConnectionError("x"), "unreachable", "x"),
        (RateLimitExceededError("x"), "rate_limited", "x"),
        (FileNotFoundError(2, "no such file"), "failed", "FileNotFoundError"),
        (ValueError("bad\n value"), "failed", "ValueError: bad value"),
        (KeyError(), "failed", "KeyError: KeyError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_kinds(error: Exception, kind: str, said: str) -> None:
    typed = as_model_call_error(error)
    assert type(typed) is ModelCallError
    assert typed.kind == kind
    assert said in str(typed)
    assert len(str(typed).splitlines()) == 1


def coded(code: int, body: dict[str, str], headers: dict[str, str] | None = None) -> Exception:
    response = _http.Response(code, request=REQUEST, headers=headers or {})
    return openai.APIStatusError(str(body), response=response, body=body)


QUOTA = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
FILTER = {"message": "The prompt was filtered", "code": "content_filter"}


@pytest.mark.parametrize(
    ("error", "kind", "transient"),
    [
        (coded(429, {"message": "slow down", "code": "rate_limit_exceeded"}), "rate_limited", True),
        (coded(429, QUOTA), "refused", False),
        (coded(402, {"message": "Insufficient credits"}), "refused", False),
        (coded(400, FILTER), "refused", False),
        (coded(400, {"message": "too long", "code": "context_length_exceeded"}), "failed", False),
        (coded(401, {"message": "bad key"}), "refused", False),
        (coded(500, {"message": "oops"}), "failed", True),
        (coded(503, {"message": "oops"}), "failed", True),
        (coded(529, {"message": "overloaded"}), "failed", True),
        (coded(501, {"message": "what is that?"}), "failed", False),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "malformed", True),
        (IndexError("list index out of range"), "malformed", True),
        (TypeError("Received response with null value for 'choices'."), "malformed", True),
        (ValueError("Unexpected response type from endpoint, got str"), "malformed", True),
        (ValueError({"message": "overloaded"}), "failed", True),
        (ValueError("bad option"), "failed", False),
        (TypeError("bad option"), "failed", False),
        (KeyError("choices of words"), "failed", False),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else None,
)
def test_what_is_worth_another_attempt(error: Exception, kind: str, transient: bool) -> None:
    typed = as_model_call_error(error)
    assert (typed.kind, typed.transient) == (kind, transient)
    assert typed.status == getattr(error, "status_code", None)


def test_a_wait_that_the_endpoint_asks_for_is_kept() -> None:
    typed = as_model_call_error(coded(429, {"message": "x"}, {"Retry-After": "12"}))
    assert typed.retry_after == 12
    assert as_model_call_error(coded(429, {"message": "x"})).retry_after is None


def test_the_causes_are_reported_without_their_frames() -> None:
    try:
        try:
            raise OSError("reset")
        except OSError as inner:
            raise ConnectionResetError(f"gone {KEY}") from inner
    except ConnectionResetError as error:
        typed = as_model_call_error(error)
    assert isinstance(typed.__cause__, ClientError)
    assert (
        str(typed.__cause__)
        == "builtins.ConnectionResetError: gone sk-*** <- builtins.OSError: reset"
    )
    assert typed.__cause__.__traceback__ is None
    assert typed.__cause__.__cause__ is None


def test_known_secrets_are_masked_whatever_they_look_like() -> None:
    model = openai_model("plain words")
    assert secrets_of(model) == ("plain words",)
    assert masked("he said plain words again", secrets_of(model)) == "he said *** again"
    # Masking what is that short would take harmless words along.
    assert secrets_of(openai_model("unused")) == ()


def openai_model(key: str) -> ChatOpenAI:
    return ChatOpenAI(model="m", api_key=SecretStr(key))


def test_a_typed_error_stays_itself() -> None:
    error = ModelCallError("x", kind="malformed")
    assert as_model_call_error(error) is error


def test_the_line_is_short_and_harmless() -> None:
    line = str(as_model_call_error(ValueError("a\x1b[31m\r\n\u2028b " + "long " * 10_000)))
    assert line.isprintable()
    assert len(line) < 400


SECRET = "Zk83hd72ksHHs8812mmQpw01"


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {KEY}. You can find your API key at https://x.example.",
        f"Error code: 401 - {{'error': {{'message': 'Incorrect API key provided: {KEY}'}}}}",
        f"{KEY}",
        f"sent headers {{'Authorization': 'Bearer {SECRET}', 'x': 1}}",
        "Authorization: Bearer onlyletters",
        f"https://x.example/v1?key={SECRET}&alt=json",
        f"x-api-key: {SECRET}",
        f'{{"api_key": "{SECRET}"}}',
        f"OPENAI_API_KEY={SECRET}",
        f"invalid token {SECRET}",
        f"authorization basic {SECRET}",
        "cannot reach http://user:pw-onlyletters@proxy.example:8080/",
        "bad key gsk_onlylettersonlyletters",
        "bad AIzaSyA" + SECRET,
        "hf_onlylettersonly is no key",
        "word " * 58 + KEY,
        "word " * 58 + f"key {KEY}",
    ],
)
def test_no_key_is_ever_repeated(message: str) -> None:
    for error in (status(openai.AuthenticationError, 401, message), RuntimeError(message)):
        line = str(as_model_call_error(error))
        assert "***" in line or len(message) > 290
        for secret in (KEY, SECRET, "onlyletters", "abc123", SECRET[:6]):
            assert secret not in line


@pytest.mark.parametrize(
    "message",
    [
        "The model gpt-4o-mini-2024-07-18 does not exist",
        "maximum context length is 128000 tokens, you asked for 130000",
        "the API key authentication failed for this organization",
        "task-oriented risk-free desk-top",
        "see https://platform.example.com/docs/guides/error-codes",
        "request req_8f2c1d77aa0b failed",
    ],
)
def test_what_helps_is_left_readable(message: str) -> None:
    assert str(as_model_call_error(RuntimeError(message))).endswith(message)


def test_masking_a_hostile_message_takes_no_time() -> None:
    for message in (
        "key " * 50_000,
        "a" * 200_000,
        "key" + "-" * 200_000,
        "bearer " + " " * 200_000,
    ):
        as_model_call_error(RuntimeError(message))


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
