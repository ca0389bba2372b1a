"""An OpenAI-compatible server that fails in the ways real endpoints do, for tests."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, get_args

from langchain_core.language_models import BaseChatModel

from agentrec.testing.openai_server import ChatRequest, JsonWriter, OpenAIServer, Reply, problem

_LINES = 10

GARBAGE = (
    "I'm sorry, but I cannot help with that.",
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>",
    "1. \x00\x1b[31m\x07C01\u202e\u2066\n\x9b2J\ufeff2. \u200b\x00",
    # Half a surrogate pair, as of an answer cut off inside a character.
    "1. \ud83d",
    "1. " + "C0" * 8_000,
    "(" * 8_000,
    "\n" * 8_000 + "1.",
    "1. " + "a\u0301 " * 5_000,
    '{"ranking": ["C',
    "[" * 200_000,
    "null",
    "As an AI language model I have no taste in this matter. 1. 2. 3.",
)
"""Texts that name no candidate."""


def garbage(lot: random.Random) -> str:
    """Return one of ``GARBAGE``."""
    return lot.choice(GARBAGE)


def foreign_items(lot: random.Random, schema: Mapping[str, Any] | None = None) -> str:
    """Return a well-formed list of which nearly nothing is usable.

    It has titles nobody offered, handles far beyond any list, a handle of zero, and the first
    candidate again and again.

    Args:
        lot: Source of randomness.
        schema: The requested schema; the list becomes the value of each of its arrays.
    """
    kinds = (
        lambda: f"The Film That Never Was {lot.randrange(1_000)}",
        lambda: f"C{lot.randrange(5_000, 10_000)} | Nowhere",
        lambda: "C00 | Nothing",
        lambda: "C01 | again",
    )
    rows = [lot.choice(kinds)() for _ in range(_LINES - 2)] + ["C01 | again", "C01 | again"]
    lot.shuffle(rows)
    if schema is None:
        return "\n".join(f"{number}. {row}" for number, row in enumerate(rows, start=1))
    fields = schema.get("properties", {"ranking": {"type": "array"}})
    return json.dumps({name: rows for name, kind in fields.items() if kind.get("type") == "array"})


Fault = Literal[
    "rate_limited",
    "rate_limited_bare",
    "server_error",
    "timed_out",
    "cut_off",
    "empty",
    "garbage",
    "foreign",
]
"""How a call fails.

``rate_limited`` is status 429 with ``Retry-After``, ``rate_limited_bare`` without it,
``server_error`` status 500. ``timed_out`` gives no answer for ``hang`` seconds and then closes
the connection, ``cut_off`` closes it in the middle of a good answer. The others are well-formed but
useless answers: ``empty`` without text, ``garbage`` from ``GARBAGE``, ``foreign`` with items that
were not offered and one that is named over and over.
"""

FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class FaultPlan:
    """Which calls fail, and how.

    With ``order`` the n-th call to arrive has the same fault in every run; that is for sequential
    calls. With ``content`` the fault follows from the messages and from how often they came
    before: concurrent calls have the same faults in every run, and a retry may succeed.

    Attributes:
        share: Share of calls that fail, 0 to 1.
        kinds: The faults, at least one; one that is listed twice is twice as likely.
        seed: Same seed and same calls, same faults.
        drawn_by: What decides a call's fault.
        retry_after: Seconds that a 429 tells the client to wait, at least 0. Fractions are not in
            the standard, but clients accept them and tests stay fast.
        hang: Seconds that a ``timed_out`` call is held, above 0: longer than the client waits.

    Raises:
        ValueError: If a number is out of range or no fault is named.
    """

    share: float = 0.3
    kinds: tuple[Fault, ...] = FAULTS
    seed: int = 0
    drawn_by: Literal["order", "content"] = "content"
    retry_after: float = 0.05
    hang: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share lies in 0 to 1, not {self.share}")
        if not self.kinds or not set(self.kinds) <= set(FAULTS):
            raise ValueError(f"kinds are some of {', '.join(FAULTS)}; not {self.kinds}")
        if self.retry_after < 0:
            raise ValueError(f"retry_after is at least 0, not {self.retry_after}")
        if self.hang <= 0:
            raise ValueError(f"hang is above 0, not {self.hang}")


class FaultyServer(OpenAIServer):
    """Answers a share of the calls with faults, and counts them by kind.

    Which calls is drawn from a seed, so that a test fails every time or never::

        with FaultyServer(model, FaultPlan(share=0.3, seed=1)) as server:
            ...
        assert server.faults.total() + server.clean == server.requests

    Args:
        model: The model that answers the other calls.
        plan: Which calls go wrong, and how.
        latency: Seconds to wait before each answer, at least 0.
        write_json: As for ``OpenAIServer``.
        refused: As for ``OpenAIServer``.
        usage: Whether tokens are reported.
        port: Where to listen; 0 for any port that is free.
    """

    def __init__(
        self,
        model: BaseChatModel,
        plan: FaultPlan | None = None,
        *,
        latency: float = 0.0,
        write_json: JsonWriter | None = None,
        refused: Collection[str] = (),
        usage: bool = True,
        port: int = 0,
    ) -> None:
        super().__init__(
            model, latency=latency, write_json=write_json, refused=refused, usage=usage, port=port
        )
        self.plan = FaultPlan() if plan is None else plan
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._met: Counter[Fault | None] = Counter()

    @property
    def faults(self) -> Counter[Fault]:
        """How many calls went wrong in each way so far."""
        with self._lock:
            return Counter({kind: n for kind, n in self._met.items() if kind is not None})

    @property
    def clean(self) -> int:
        """How many calls were left to the model."""
        with self._lock:
            return self._met[None]

    def reply(self, request: ChatRequest) -> Reply:
        """Answer one request, well or badly."""
        fault, lot = self._draw(request)
        if fault is None:
            return super().reply(request)
        if fault == "cut_off":
            whole = super().reply(request)
            return Reply(whole.status, whole.content, sent=len(whole.content) // 2)
        self.wait(self.latency)
        match fault:
            case "rate_limited":
                wait = {"Retry-After": f"{self.plan.retry_after:g}"}
                return Reply(HTTPStatus.TOO_MANY_REQUESTS, problem("Rate limit reached"), wait)
            case "rate_limited_bare":
                return Reply(HTTPStatus.TOO_MANY_REQUESTS, problem("Rate limit reached"))
            case "server_error":
                return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, problem("The server had an error"))
            case "timed_out":
                self.wait(self.plan.hang)
                return Reply(HTTPStatus.OK, b" ", sent=0)
            case "empty":
                return self.text_reply(request, "")
            case "garbage":
                return self.text_reply(request, garbage(lot))
            case "foreign":
                return self.text_reply(request, foreign_items(lot, request.schema))

    def _draw(self, request: ChatRequest) -> tuple[Fault | None, random.Random]:
        content = json.dumps(request.body.get("messages"), sort_keys=True)
        key = content if self.plan.drawn_by == "content" else ""
        with self._lock:
            drawn = json.dumps([self.plan.seed, self._seen[key], key]).encode()
            self._seen[key] += 1
            lot = random.Random(hashlib.sha256(drawn).digest())
            fault = lot.choice(self.plan.kinds) if lot.random() < self.plan.share else None
            self._met[fault] += 1
        return fault, lot
