"""A chat-completions endpoint in a process of its own that takes a set time and keeps a set limit.

It is as light as can be, so that what is measured is the caller: one event loop, one timer a
request, answers made beforehand. Run as a program it prints its port and serves until its input
is closed, which the end of the process that started it does as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PLACES = 10
"""How many candidates an answer names: the first ones, as they are handed to the model."""

_BACKLOG = 4096
_STARTS_WITHIN = 30.0


def _completion(text: str) -> bytes:
    content = {
        "id": "chatcmpl-paced",
        "object": "chat.completion",
        "created": 0,
        "model": "paced",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 700, "completion_tokens": 80, "total_tokens": 780},
    }
    return _message("200 OK", json.dumps(content).encode())


def _message(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


RANKING = "\n".join(f"{n}. C{n:02d} | item {n}" for n in range(1, PLACES + 1))
_PLAIN = _completion(RANKING)
# "ok" is what the gateway's one question after structured output wants, "ranking" the answer.
_FITTED = _completion(
    json.dumps({"ranking": [f"C{n:02d}" for n in range(1, PLACES + 1)], "ok": True})
)


class _Counts:
    """What the endpoint saw, and its limit on requests in any window."""

    def __init__(self, limit: int | None, window: float) -> None:
        self._limit = limit
        self._window = window
        self._accepted: deque[float] = deque()
        self._arrived: deque[float] = deque()
        self.stats: dict[str, float] = dict.fromkeys(
            ("requests", "refused", "in_flight", "most_in_flight", "busiest_window"), 0
        )
        self.stats |= {"connections": 0, "first": 0.0, "last": 0.0}

    def arrival(self) -> float | None:
        """Count a request; after how many seconds to come again where there is no room."""
        now, stats = time.monotonic(), self.stats
        stats["requests"] += 1
        stats["first"] = stats["first"] or now
        stats["last"] = now
        self._arrived.append(now)
        self._forget(self._arrived, now)
        stats["busiest_window"] = max(stats["busiest_window"], len(self._arrived))
        if self._limit is not None:
            self._forget(self._accepted, now)
            if len(self._accepted) >= self._limit:
                stats["refused"] += 1
                return self._accepted[0] + self._window - now
            self._accepted.append(now)
        stats["in_flight"] += 1
        stats["most_in_flight"] = max(stats["most_in_flight"], stats["in_flight"])
        return None

    def _forget(self, times: deque[float], now: float) -> None:
        while times and now - times[0] > self._window:
            times.popleft()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; a client sends its next request after the answer."""

    def __init__(self, counts: _Counts, latency: float) -> None:
        self._counts = counts
        self._latency = latency
        self._received = b""
        self._transport: Any = None
        self._later = asyncio.get_running_loop().call_later

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._counts.stats["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + size:
                return
            body = self._received[end + 4 : end + 4 + size]
            self._received = self._received[end + 4 + size :]
            self._serve(head, body)

    def _serve(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /stats"):
            self._transport.write(_message("200 OK", json.dumps(self._counts.stats).encode()))
            return
        wait = self._counts.arrival()
        if wait is not None:
            error = json.dumps({"error": {"message": "too many requests"}}).encode()
            retry = f"Retry-After: {wait:.3f}\r\n"
            self._transport.write(_message("429 Too Many Requests", error, retry))
            return
        answer = _FITTED if b'"json_schema"' in body else _PLAIN
        if self._latency:
            self._later(self._latency, self._answer, answer)
        else:
            self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        self._counts.stats["in_flight"] -= 1
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve_until_closed(latency: float, limit: int | None, window: float, port: int) -> None:
    loop = asyncio.get_running_loop()
    counts = _Counts(limit, window)
    server = await loop.create_server(
        lambda: _Connection(counts, latency), "127.0.0.1", port, backlog=_BACKLOG
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()
    # At the end of a file it can be read without end: once is enough.
    loop.add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()


@dataclass
class PacedEndpoint:
    """Starts the endpoint, and ends it.

    Attributes:
        latency: Seconds from a request's arrival to its answer.
        limit: Most requests in any window; what comes above is refused with 429.
        window: Seconds.
        port: Where it listens, which is to who keeps answers by address the same model; 0 for any.
    """

    latency: float = 0.0
    limit: int | None = None
    window: float = 60.0
    port: int = 0

    def __enter__(self) -> PacedEndpoint:
        limit = [] if self.limit is None else ["--limit", str(self.limit)]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-S",  # starts sooner, and needs nothing but the standard library
                str(Path(__file__)),
                f"--latency={self.latency}",
                f"--window={self.window}",
                f"--port={self.port}",
                *limit,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=_STARTS_WITHIN)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, float]:
        """What it saw: see ``_Counts``."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats") as reply:
            seen: dict[str, float] = json.loads(reply.read())
        return seen


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--window", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(_serve_until_closed(given.latency, given.limit, given.window, given.port))


if __name__ == "__main__":
    _main()
