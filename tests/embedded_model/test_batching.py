import threading
from collections.abc import Sequence
from concurrent.futures import wait

import pytest

from agentrec.embedded_model.decoding import MicroBatcher


class Doubling:
    """Doubles numbers, records its batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, requests: Sequence[int]) -> list[int]:
        self.batches.append(list(requests))
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.go.wait(5)
        if 13 in requests:
            raise ValueError("13")
        return [2 * request for request in requests]

    def hold(self) -> None:
        self.go.clear()
        self.entered.clear()


def test_answers_reach_their_callers_in_order_from_one_thread() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 7)
    compute.hold()
    futures = [batcher.submit(n) for n in range(100, 150)]
    assert compute.entered.wait(5)
    compute.go.set()
    assert [future.result(5) for future in futures] == [2 * n for n in range(100, 150)]
    assert [n for batch in compute.batches for n in batch] == list(range(100, 150))
    assert max(len(batch) for batch in compute.batches) == 7
    assert len(compute.threads) == 1


def test_sixty_four_at_once_are_few_batches() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 128)
    compute.hold()
    futures = [batcher.submit(n + 20) for n in range(64)]
    assert compute.entered.wait(5)
    compute.go.set()
    wait(futures, 5)
    assert len(compute.batches) <= 2


def test_a_single_request_is_computed_at_once() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 128)
    for n in range(5):
        assert batcher.submit(n).result(5) == 2 * n
    assert compute.batches == [[n] for n in range(5)]


def test_an_error_reaches_its_batch_alone_and_later_ones_work() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 4)
    compute.hold()
    first = batcher.submit(1)
    assert compute.entered.wait(5)
    futures = [batcher.submit(n) for n in (10, 11, 12, 13, 14, 15)]
    compute.go.set()
    assert first.result(5) == 2
    for future in futures[:4]:
        with pytest.raises(ValueError, match="13"):
            future.result(5)
    assert [future.result(5) for future in futures[4:]] == [28, 30]
    assert batcher.submit(7).result(5) == 14


@pytest.mark.parametrize("answers", [[], [1], [1, 2, 3]])
def test_a_wrong_number_of_answers_fails_every_caller(
    answers: list[int],
) -> None:
    compute = Doubling()
    wrong = [True]

    def miscounting(requests: Sequence[int]) -> list[int]:
        doubled = compute(requests)
        return answers if len(requests) == 2 and wrong else doubled

    batcher = MicroBatcher(miscounting, 2)
    compute.hold()
    first = batcher.submit(1)
    assert compute.entered.wait(5)
    pair = [batcher.submit(n) for n in (2, 3)]
    compute.go.set()
    assert first.result(5) == 2
    for future in pair:
        with pytest.raises(RuntimeError, match=f"2 requests got {len(answers)} answers"):
            future.result(5)
    wrong.clear()
    assert batcher.submit(4).result(5) == 8


def test_a_cancelled_request_is_not_computed() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 3)
    compute.hold()
    first = batcher.submit(0)
    assert compute.entered.wait(5)
    futures = [batcher.submit(n) for n in range(1, 10)]
    # The middle three make a whole batch of nothing.
    cancelled = [futures[0], *futures[3:6], futures[8]]
    assert all(future.cancel() for future in cancelled)
    assert not first.cancel()
    compute.go.set()
    kept = [future for future in futures if future not in cancelled]
    assert [future.result(5) for future in kept] == [4, 6, 14, 16]
    assert compute.batches == [[0], [2, 3], [7, 8]]


def test_many_threads_may_submit() -> None:
    compute = Doubling()
    batcher = MicroBatcher(compute, 16)
    answers: dict[int, int] = {}

    def ask(start: int) -> None:
        for n in range(start, start + 50):
            answers[n] = batcher.submit(n).result(5)

    threads = [threading.Thread(target=ask, args=(1000 * t,)) for t in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == {1000 * t + n: 2 * (1000 * t + n) for t in range(1, 9) for n in range(50)}
    assert len(compute.threads) == 1
