"""Any LangChain chat model behind an OpenAI-compatible address on this computer."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

_ROUTE = "/v1/chat/completions"
_OPTIONS = ("temperature", "seed", "stop")
_WAITING_CONNECTIONS = 256
_POLL = 0.02


class OpenAIServer:
    """Serves ``POST /v1/chat/completions`` on 127.0.0.1, without streaming and without a key.

    Made for tests of code that talks to a provider: the real client, a real socket, and answers
    from any model, scripted or embedded::

        with OpenAIServer(ScriptedChatModel(["1. C01 | Heat"])) as server:
            model = ChatOpenAI(model="local", base_url=server.base_url, api_key="unused")

    Requests are answered side by side, each in a thread, by the model's synchronous ``invoke``.
    What the model raises is answered with status 500 and its text; the client may try again.

    Args:
        model: The model that answers, whatever model a request names.
        latency: Seconds to wait before each answer, at least 0.

    Raises:
        ValueError: If ``latency`` is below 0.
    """

    def __init__(self, model: BaseChatModel, *, latency: float = 0.0) -> None:
        if latency < 0:
            raise ValueError(f"latency is at least 0, not {latency}")
        self.model = model
        self.latency = latency
        self._asked: list[list[BaseMessage]] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What a client is given as base URL.

        Raises:
            RuntimeError: If the server is not running.
        """
        if self._server is None:
            raise RuntimeError("the server runs inside its with block only")
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def requests(self) -> int:
        """How many well-formed requests came in so far."""
        return len(self._asked)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """The messages of each of them, in the order in which they came in."""
        return list(self._asked)

    def __enter__(self) -> Self:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.owner = self
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(_POLL,), name="openai-server", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            # Waits for the answers that are being written, so that no thread outlives the block.
            self._server.server_close()
        self._server = self._thread = None

    def answer(self, body: Mapping[str, Any], messages: list[BaseMessage]) -> Mapping[str, Any]:
        """Answer one request; raises what the model raises."""
        self._asked.append(messages)
        time.sleep(self.latency)
        options = {name: body[name] for name in _OPTIONS if body.get(name) is not None}
        return _completion(self.model.invoke(messages, **options), str(body.get("model", "")))


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    # Clients open many connections at once; the default of 5 makes the others wait for seconds.
    request_queue_size = _WAITING_CONNECTIONS
    owner: OpenAIServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up, as a cancelled one does, is no error."""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection (HTTP/1.0), so that no idle connection keeps a thread."""

    server: _Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != _ROUTE:
            self._send(HTTPStatus.NOT_FOUND, _error(f"only {_ROUTE} is here"))
            return
        try:
            body, messages = _read(raw)
        except ValueError as error:
            self._send(HTTPStatus.BAD_REQUEST, _error(str(error)))
            return
        try:
            content = self.server.owner.answer(body, messages)
        except Exception as error:
            # Whatever the model raised is the client's to hear of, as from a provider.
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, _error(str(error)))
            return
        self._send(HTTPStatus.OK, content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet: tests read the output."""

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _read(raw: bytes) -> tuple[Mapping[str, Any], list[BaseMessage]]:
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    if body.get("stream"):
        raise ValueError("streaming is not offered here")
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise ValueError("'messages' must be a list with at least one message")
    try:
        return body, convert_to_messages(given)
    except Exception as error:
        raise ValueError(f"'messages' cannot be read: {error}") from error


def _completion(message: AIMessage, model: str) -> Mapping[str, Any]:
    usage = message.usage_metadata
    read = 0 if usage is None else usage["input_tokens"]
    written = 0 if usage is None else usage["output_tokens"]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": message.text},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def _error(problem: str) -> Mapping[str, Any]:
    return {"error": {"message": problem, "type": "invalid_request_error", "code": None}}
