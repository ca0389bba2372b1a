import pytest

from agentrec.contracts import PreferenceSink
from agentrec.stores.pairs.in_memory import InMemoryPreferenceSink
from agentrec.testing.preference_sink_conformance import PreferenceSinkConformance


class TestInMemoryPreferenceSink(PreferenceSinkConformance):
    @pytest.fixture
    def sink(self) -> PreferenceSink:
        return InMemoryPreferenceSink()
