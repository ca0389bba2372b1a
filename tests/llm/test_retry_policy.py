import math
from random import Random

import pytest

from agentrec.errors import FailureKind, ModelCallError
from agentrec.llm.gateway.retry_policy import RetryPolicy


def failed(kind: FailureKind, **more: float | bool) -> ModelCallError:
    return ModelCallError("x", kind=kind, **more)  # type: ignore[arg-type]


def attempts(policy: RetryPolicy, error: ModelCallError) -> int:
    """How often a call is made that fails like this every time."""
    failures = [error]
    while policy.wait_after(failures, Random(0)) is not None:
        failures.append(error)
    return len(failures)


@pytest.mark.parametrize("kind", ["rate_limited", "timed_out", "unreachable"])
def test_what_passes_is_tried_again_a_bounded_number_of_times(kind: FailureKind) -> None:
    assert attempts(RetryPolicy(), failed(kind)) == 5
    assert attempts(RetryPolicy(max_attempts=1), failed(kind)) == 1


@pytest.mark.parametrize("kind", ["refused", "budget_spent", "failed"])
def test_what_does_not_pass_is_not_tried_again(kind: FailureKind) -> None:
    assert attempts(RetryPolicy(), failed(kind)) == 1


def test_the_error_has_the_last_word_on_whether_it_passes() -> None:
    assert attempts(RetryPolicy(), failed("failed", transient=True)) == 5
    assert attempts(RetryPolicy(), failed("rate_limited", transient=False)) == 1


def test_malformed_answers_have_a_bound_of_their_own() -> None:
    assert attempts(RetryPolicy(), failed("malformed")) == 2
    assert attempts(RetryPolicy(malformed_attempts=9, max_attempts=4), failed("malformed")) == 4
    # What failed otherwise before does not count as malformed.
    mixed = [failed("timed_out"), failed("timed_out"), failed("malformed")]
    assert RetryPolicy().wait_after(mixed, Random(0)) is not None
    assert RetryPolicy().wait_after([*mixed, failed("malformed")], Random(0)) is None


def test_waits_are_drawn_from_zero_to_a_bound_that_doubles() -> None:
    policy = RetryPolicy(max_attempts=100, first_wait=1, longest_wait=10)
    draws = Random(1)
    for attempt, bound in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (99, 10)):
        waits = [policy.wait_after([failed("timed_out")] * attempt, draws) for _ in range(300)]
        known = [wait for wait in waits if wait is not None]
        assert len(known) == 300
        assert max(known) <= bound
        assert max(known) > 0.9 * bound
        assert min(known) < 0.1 * bound


def test_the_same_seed_waits_the_same() -> None:
    waits = [RetryPolicy().wait_after([failed("timed_out")] * 3, Random(7)) for _ in range(2)]
    assert waits[0] == waits[1]


def test_an_endpoint_is_not_asked_earlier_than_it_wants() -> None:
    policy = RetryPolicy(first_wait=0.1, longest_retry_after=60)
    assert policy.wait_after([failed("rate_limited", retry_after=30.0)], Random(0)) == 30
    assert policy.wait_after([failed("rate_limited", retry_after=61.0)], Random(0)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"malformed_attempts": 0},
        {"first_wait": -1},
        {"longest_wait": math.inf},
        {"longest_retry_after": math.nan},
        {"timeout": 0},
    ],
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
