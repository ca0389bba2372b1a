"""An OpenAI-compatible local server in front of any LangChain chat model."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

JsonWriter = Callable[[Sequence[BaseMessage], Mapping[str, Any]], str]
"""Makes the JSON text that answers a conversation, given the JSON schema that was asked for."""

_OPTIONS = ("temperature", "seed", "stop")
_ROUTE = "/v1/chat/completions"
_WAITING_CONNECTIONS = 256
_POLL = 0.02


@dataclass(frozen=True)
class ChatRequest:
    """A well-formed request.

    Attributes:
        body: The whole body.
        messages: The conversation.
        schema: JSON schema that the answer must fit: of ``response_format``, or of the parameters
            of the tool to call. ``{}`` for any JSON object, ``None`` for plain text.
        tool: Name of the tool to call, if any.
    """

    body: Mapping[str, Any]
    messages: list[BaseMessage]
    schema: Mapping[str, Any] | None
    tool: str | None

    @property
    def options(self) -> dict[str, Any]:
        """The options to pass to a model's ``invoke``."""
        return {name: self.body[name] for name in _OPTIONS if self.body.get(name) is not None}


def read_request(raw: bytes) -> ChatRequest:
    """Read the body of a request.

    Raises:
        ValueError: If it is not supported here; the text says why.
    """
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    if body.get("stream"):
        raise ValueError("streaming is not supported here")
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise ValueError("'messages' must be a list with at least one message")
    try:
        messages = convert_to_messages(given)
    except Exception as error:
        raise ValueError(f"'messages' cannot be read: {error}") from error
    try:
        tool, schema = _wanted(body)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"'response_format' or 'tools' cannot be read: {error!r}") from error
    return ChatRequest(body, messages, schema, tool)


def completion(
    request: ChatRequest, text: str, usage: Mapping[str, Any] | None, finish_reason: str = "stop"
) -> bytes:
    """Return the body of a response.

    Args:
        request: The request.
        text: The answer; the arguments if the request is for a tool call.
        usage: Tokens as the interface counts them, ``None`` to omit them.
        finish_reason: Why the model stopped.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if request.tool is not None:
        function = {"name": request.tool, "arguments": text}
        call = {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        finish_reason = "tool_calls"
    content: dict[str, Any] = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": str(request.body.get("model", "")),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage is not None:
        content["usage"] = usage
    return json.dumps(content).encode()


def usage_of(message: AIMessage, messages: Sequence[BaseMessage]) -> Mapping[str, Any]:
    """Return the tokens that a model reports; one a white-space separated word if it does not."""
    known = message.usage_metadata
    if known is None:
        return word_usage(messages, message.text)
    usage: dict[str, Any] = {
        "prompt_tokens": known["input_tokens"],
        "completion_tokens": known["output_tokens"],
        "total_tokens": known["input_tokens"] + known["output_tokens"],
    }
    cached = known.get("input_token_details", {}).get("cache_read")
    return usage if cached is None else usage | {"prompt_tokens_details": {"cached_tokens": cached}}


def word_usage(messages: Sequence[BaseMessage], text: str) -> Mapping[str, Any]:
    """Count one token a white-space separated word."""
    read = sum(len(message.text.split()) for message in messages)
    written = len(text.split())
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def problem(text: str) -> bytes:
    """Return the body of an error response."""
    error = {"message": text, "type": "invalid_request_error", "code": None}
    return json.dumps({"error": error}).encode()


def _wanted(body: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None]:
    choice = body.get("tool_choice", "auto")
    # A model that may choose answers in text; one that must call a tool calls it.
    if body.get("tools") and choice not in ("auto", "none", None):
        functions = {tool["function"]["name"]: tool["function"] for tool in body["tools"]}
        name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(functions))
        return name, functions[name].get("parameters") or {}
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return None, wanted["json_schema"].get("schema") or {}
    return None, {} if wanted.get("type") == "json_object" else None


@dataclass(frozen=True)
class Reply:
    """An HTTP response.

    Attributes:
        status: The HTTP status.
        content: The body.
        headers: Further headers.
        sent: Bytes of the body to send before the connection is closed; ``None`` for all. The
            ``Content-Length`` is that of the whole body.
    """

    status: HTTPStatus
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None


class OpenAIServer:
    """Serves ``POST /v1/chat/completions`` on 127.0.0.1, without streaming and without a key.

    Made for tests of code that talks to a provider: the real client, a real socket, and answers
    from any model, scripted or embedded::

        with OpenAIServer(ScriptedChatModel(["1. C01 | Heat"])) as server:
            model = ChatOpenAI(model="local", base_url=server.base_url, api_key="unused")

    Requests are answered concurrently, each in a thread, by the model's synchronous ``invoke``.
    An exception of the model becomes status 500 with its text.

    Args:
        model: Answers all requests, whatever model they name.
        latency: Seconds to wait before each answer, at least 0.
        write_json: Answers requests for JSON (``response_format``) and for a tool call instead of
            the model, so that structured output can be tested with the real client. Without it
            the model answers these in plain text, as many local servers do.
        refused: Request fields that are answered with status 400, such as ``response_format``,
            as by an endpoint that does not know them.
        usage: Whether tokens are reported: as the model counts them, else one a word.
        port: Port to listen on; 0 for any free port. A journal takes the same port for the same
            model.

    Raises:
        ValueError: If ``latency`` is below 0.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        latency: float = 0.0,
        write_json: JsonWriter | None = None,
        refused: Collection[str] = (),
        usage: bool = True,
        port: int = 0,
    ) -> None:
        if latency < 0:
            raise ValueError(f"latency is at least 0, not {latency}")
        self.model = model
        self.latency = latency
        self.write_json = write_json
        self.refused = frozenset(refused)
        self.usage = usage
        self.port = port
        self._requests: list[tuple[float, ChatRequest]] = []
        self._noting = threading.Lock()
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The base URL for clients.

        Raises:
            RuntimeError: If the server is not running.
        """
        if self._server is None:
            raise RuntimeError("the server runs inside its with block only")
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def requests(self) -> int:
        """Number of well-formed requests so far."""
        return len(self._requests)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """The messages of each request, in the order of arrival."""
        return [request.messages for _, request in list(self._requests)]

    @property
    def bodies(self) -> list[Mapping[str, Any]]:
        """The body of each request, in the same order."""
        return [request.body for _, request in list(self._requests)]

    @property
    def arrivals(self) -> list[float]:
        """When each request arrived, in ``time.monotonic()`` seconds, in the same order."""
        return [arrival for arrival, _ in list(self._requests)]

    def __enter__(self) -> Self:
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.owner = self
        self._closing.clear()
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
        self._closing.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            # Waits for answers that are being written, so that no thread outlives the block.
            self._server.server_close()
        self._server = self._thread = None

    def reply(self, request: ChatRequest) -> Reply:
        """Answer one well-formed request; the model's exceptions pass through."""
        self.wait(self.latency)
        for name in sorted(self.refused & request.body.keys()):
            return Reply(HTTPStatus.BAD_REQUEST, problem(f"Unrecognized request argument: {name}"))
        if request.schema is not None and self.write_json is not None:
            return self.text_reply(request, self.write_json(request.messages, request.schema))
        message = self.model.invoke(request.messages, **request.options)
        reason = str(message.response_metadata.get("finish_reason", "stop"))
        tokens = usage_of(message, request.messages) if self.usage else None
        # A model without tools answers in text, whatever it was offered.
        plain = ChatRequest(request.body, request.messages, None, None)
        return Reply(HTTPStatus.OK, completion(plain, message.text, tokens, reason))

    def text_reply(self, request: ChatRequest, text: str) -> Reply:
        """Return a text as the answer, in the requested form."""
        tokens = word_usage(request.messages, text) if self.usage else None
        return Reply(HTTPStatus.OK, completion(request, text, tokens))

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up when the server stops."""
        self._closing.wait(seconds)

    def _answer(self, raw: bytes) -> Reply:
        try:
            request = read_request(raw)
        except ValueError as error:
            return Reply(HTTPStatus.BAD_REQUEST, problem(str(error)))
        with self._noting:
            self._requests.append((time.monotonic(), request))
        try:
            return self.reply(request)
        except Exception as error:
            # The client receives whatever the model raised, as from a provider.
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, problem(str(error)))


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    # Clients open many connections at once; the default of 5 makes the others wait for seconds.
    request_queue_size = _WAITING_CONNECTIONS
    owner: OpenAIServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: a client that hangs up, as a cancelled one does, is no error."""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection (HTTP/1.0), so that no idle connection keeps a thread."""

    server: _Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == _ROUTE:
            self._send(self.server.owner._answer(raw))
        else:
            self._send(Reply(HTTPStatus.NOT_FOUND, problem(f"only {_ROUTE} is here")))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet: tests read the output."""

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content[: reply.sent])
