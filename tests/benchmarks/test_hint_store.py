"""Adding to and searching 10,000 hints on disk beside exact search with numpy, in one run."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from agentrec.hints import Hint, HintState
from agentrec.stores.hints.opening import open_hint_store
from agentrec.testing.loop_watch import LoopWatch

HINTS, DIMENSION, BATCH, LIMIT, QUERIES, ROUNDS = 10_000, 384, 500, 10, 300, 5


def times(seconds: list[float]) -> str:
    return f"p50 {median(seconds) * 1e3:6.2f} ms   p99 {np.quantile(seconds, 0.99) * 1e3:6.2f} ms"


@pytest.mark.bench
async def test_ten_thousand_hints_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(HINTS, DIMENSION))
    queries = rng.normal(size=(QUERIES, DIMENSION))
    # Every tenth hint is not admitted: a search has to pass it over.
    state: list[HintState] = ["retired" if n % 10 == 0 else "admitted" for n in range(HINTS)]
    hints = [Hint(text=f"Prefer films of kind {n}.", state=state[n]) for n in range(HINTS)]

    listed = vectors.tolist()
    async with await open_hint_store(tmp_path, DIMENSION) as store:
        begun = time.perf_counter()
        async with LoopWatch() as adding_watch:
            for start in range(0, HINTS, BATCH):
                rows = slice(start, start + BATCH)
                answers = await store.add_many(hints[rows], listed[rows])
                assert all(answers)
        adding = time.perf_counter() - begun
        begun = time.perf_counter()
        await store.change([each.model_copy(update={"reason": "measured"}) for each in hints], "m")
        changing = time.perf_counter() - begun

    begun = time.perf_counter()
    store = await open_hint_store(tmp_path, DIMENSION)
    opening = time.perf_counter() - begun
    admitted = np.flatnonzero([each == "admitted" for each in state])
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[admitted]
    place = {hints[row].hint_id: at for at, row in enumerate(admitted)}
    ours, exact, at_once, ratios = [], [], [], []
    listed_queries = queries.tolist()
    async with store, LoopWatch() as searching_watch:
        for query in queries:
            begun = time.perf_counter()
            similarities = units @ (query / np.linalg.norm(query))
            nearest = np.argpartition(-similarities, LIMIT)[:LIMIT]
            nearest = nearest[np.argsort(-similarities[nearest])]
            exact.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            found = await store.search(query.tolist(), LIMIT)
            ours.append(time.perf_counter() - begun)
            # What is equal to six decimals is ordered by id here and by the last bits there.
            found_rows = [place[each.hint.hint_id] for each in found]
            assert len(set(found_rows)) == LIMIT
            assert similarities[found_rows] == pytest.approx(similarities[nearest], abs=2e-6)
            assert [each.similarity for each in found] == pytest.approx(
                similarities[nearest], abs=1e-5
            )
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            alone = [await store.search(query, LIMIT) for query in listed_queries]
            one_by_one = time.perf_counter() - begun
            begun = time.perf_counter()
            together = await store.search_many(listed_queries, LIMIT)
            at_once.append((time.perf_counter() - begun) / QUERIES)
            ratios.append(one_by_one / QUERIES / at_once[-1])
            assert together == alone
    print(
        f"\n{HINTS} hints of {DIMENSION} dimensions in a folder, {QUERIES} searches\n"
        f"adding, {BATCH} at once   {adding:.1f} s\n"
        f"changing all at once   {changing:.1f} s\n"
        f"opening               {opening:.1f} s\n"
        f"search                {times(ours)}\n"
        f"numpy, exact          {times(exact)}\n"
        f"ratio of the medians  {median(ours) / median(exact):.1f}\n"
        f"search_many, {QUERIES} at once   {median(at_once) * 1e3:.2f} ms a query,"
        f" {median(ratios):.1f} x as quick as one by one\n"
        f"event loop blocked    at most {adding_watch.longest * 1e3:.0f} ms adding, "
        f"{searching_watch.longest * 1e3:.0f} ms searching (numpy's own search runs on the loop)"
    )
