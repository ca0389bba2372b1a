import asyncio

import numpy as np
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


async def test_a_search_for_many_sees_what_there_was_when_it_began() -> None:
    store = InMemoryHintStore(2)
    hints = [Hint(text=f"Prefer films of kind {number}.") for number in range(64)]
    await store.add_many(hints, [[1.0, float(number)] for number in range(64)])
    searching = asyncio.create_task(store.search_many([[1.0, 0.0]] * 50, 100))
    # On until the search has what it needs; the array is full, so the next hint moves it.
    await asyncio.sleep(0)
    await store.add(Hint(text="Prefer the newest."), [1.0, 0.0])
    await store.change([hint.model_copy(update={"state": "retired"}) for hint in hints], "all")
    for found in await searching:
        assert [each.hint for each in found] == hints
    assert [len(each) for each in await store.search_many([[1.0, 0.0]], 100)] == [1]


async def test_of_many_hints_few_may_be_asked_for() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(90, 4))
    for share in (2, 9):
        store = InMemoryHintStore(4)
        hints = [
            Hint(text=f"Kind {n}.", state="admitted" if n % share == 0 else "retired")
            for n in range(90)
        ]
        await store.add_many(hints, vectors.tolist())
        query = rng.normal(size=4)
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        expected = [row for row in np.argsort(-cosines) if row % share == 0][:5]
        found = await store.search(query.tolist(), 5)
        assert [each.hint for each in found] == [hints[row] for row in expected]
