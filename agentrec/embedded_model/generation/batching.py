"""Micro-batching: requests that wait together are computed together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class MicroBatcher(Generic[Request, Answer]):
    """Runs a batch function on the requests that have queued since its last run.

    There is no timer: a single request is computed at once, and while one batch is computed the
    next one queues. All work happens in one thread, which is started on first use.

    Args:
        compute: Called with 1 to ``max_batch`` requests; returns one answer each, in order. If
            it raises, every request of the batch fails with that error.
        max_batch: Most requests per call.
    """

    def __init__(
        self, compute: Callable[[Sequence[Request]], list[Answer]], max_batch: int
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._waiting: deque[tuple[Request, Future[Answer]]] = deque()
        self._lock = threading.Lock()
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-lm")

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request; never blocks. A cancelled future's request is not computed."""
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((request, future))
            if not self._running:
                self._running = True
                self._thread.submit(self._drain)
        return future

    def _drain(self) -> None:
        while True:
            with self._lock:
                taken = [
                    self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))
                ]
                if not taken:
                    self._running = False
                    return
            batch = [(r, f) for r, f in taken if f.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                answers = self._compute([request for request, _ in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(batch)} requests got {len(answers)} answers")
            except BaseException as error:  # passed to every caller
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
