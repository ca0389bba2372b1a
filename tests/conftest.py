"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest
from testing.recorded_telemetry import RecordedTelemetry, recorded_telemetry


def pytest_configure() -> None:
    """Ctrl-C is heard, also by the processes that tests start.

    A shell that runs tests in the background makes them ignore it, and whatever they start too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    """What OpenTelemetry is told from now on."""
    recorded = recorded_telemetry()
    recorded.clear()
    return recorded
