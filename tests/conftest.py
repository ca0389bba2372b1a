"""What holds for all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from testing.recorded_telemetry import RecordedTelemetry, recorded_telemetry

TESTS = Path(__file__).parent
SLOW = (
    "app/",
    "docs/",
    "examples/",
    "embedded_model/",
    "policies/alignment/",
    "policies/ppo/",
    "policies/reward_model/",
    "policies/sequential/",
    "reference_defects/",
    "architecture/test_light_import",
    "graphs/test_faulty_endpoint",
    "llm/test_journal_kill",
    "stores/hints/test_embedded",
    "stores/hints/test_hint_store_sequences",
    "stores/pairs/test_card",
    "stores/pairs/test_kill",
    "test_open_recommender",
)
"""Tests that train a model, start processes or take seconds: `make quick` leaves them out."""


def pytest_configure() -> None:
    """Ctrl-C is heard, also by the processes that tests start.

    A shell that runs tests in the background makes them ignore it, and whatever they start too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(SLOW):
            item.add_marker("slow")


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    """What OpenTelemetry is told from now on."""
    recorded = recorded_telemetry()
    recorded.clear()
    return recorded
