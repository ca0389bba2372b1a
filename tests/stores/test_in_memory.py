import pytest

from agentrec.contracts import HintStore
from agentrec.hints import Hint
from agentrec.stores.in_memory import InMemoryHintStore
from agentrec.testing.hint_store_conformance import DIMENSION, HintStoreConformance


class TestInMemoryHintStore(HintStoreConformance):
    @pytest.fixture
    def store(self) -> HintStore:
        return InMemoryHintStore(DIMENSION)


def test_dimension_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="dimension"):
        InMemoryHintStore(0)


async def test_it_grows() -> None:
    store = InMemoryHintStore(2)
    hints = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]
    for number, hint in enumerate(hints):
        assert await store.add(hint, [1.0, float(number)])
    assert await store.all() == hints
    found = await store.search([1.0, 0.0], 300)
    assert [each.hint for each in found[:50]] == hints[:50]
