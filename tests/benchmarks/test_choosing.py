"""Choosing for 10,000 sessions out of 10,000 hints beside numpy's search alone, in one run."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.contracts import HintPolicy, HintStore
from agentrec.data.item_features import discover_features
from agentrec.graphs.recommendation.build_offer import build_offer, choose_for
from agentrec.hint_offers import HintOffer
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.rewarded_offers import RewardedOffer
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.stores.hints.opening import open_hint_store

SESSIONS, HINTS, ITEMS, DIMENSION, OFFERED, ROUNDS = 10_000, 10_000, 2_000, 384, 32, 3
HISTORY, CANDIDATES, TRAINED, BATCH, BLOCK = 10, 50, 20, 500, 1_000
KINDS = ("garden", "kitchen", "travel", "music", "sport", "film", "food", "art")

_Result = TypeVar("_Result")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def encoder_of(rng: np.random.Generator) -> tuple[Catalog, RecencySessionEncoder]:
    """Items with two categories and two numbers, and text vectors made up."""
    catalog = Catalog(
        Item(
            item_id=f"i{n}",
            title=f"Thing {n}",
            attributes={
                "kind": KINDS[n % len(KINDS)],
                "maker": f"maker {n % 30}",
                "year": 1950 + (n * 37) % 70,
                "price": 5 + (n * n) % 900,
            },
        )
        for n in range(ITEMS)
    )
    text = rng.normal(size=(ITEMS, DIMENSION)).astype(np.float32)
    return catalog, RecencySessionEncoder(catalog, discover_features(catalog, text, {}), text)


def sessions_of(rng: np.random.Generator) -> list[Session]:
    drawn = rng.integers(ITEMS, size=(SESSIONS, HISTORY + CANDIDATES)).tolist()
    return [
        Session(
            session_id=f"s{n}",
            items=tuple(f"i{item}" for item in row[:HISTORY]),
            candidates=tuple(dict.fromkeys(f"i{item}" for item in row[HISTORY:])),
        )
        for n, row in enumerate(drawn)
    ]


def policy_of(
    encoder: RecencySessionEncoder,
    sessions: Sequence[Session],
    hints: Sequence[Hint],
    vectors: npt.NDArray[np.float32],
) -> HintPolicy:
    """Trained for a moment: what it has learnt does not change what choosing costs."""
    offer = HintOffer.of_all(encoder.states(sessions), hints, vectors, encoder.queries(sessions))
    gains = np.random.default_rng(1).normal(size=(len(sessions), 1 + len(hints))) / 5
    gains[:, 0] = 0
    config = PPOConfig(iterations=2)
    return ScoringPPOTrainer(config).fit(RewardedOffer(offer, gains.astype(np.float32)))


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[HintStore]:
    if kind == "in memory":
        yield InMemoryHintStore(DIMENSION)
        return
    async with await open_hint_store(folder, DIMENSION) as store:
        yield store


def search_with_numpy(
    queries: npt.NDArray[np.float32], units: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Places of the nearest hints, in no order, in blocks that memory has room for."""
    found = []
    for start in range(0, len(queries), BLOCK):
        similarities = queries[start : start + BLOCK] @ units.T
        found.append(np.argpartition(similarities, -OFFERED, axis=1)[:, -OFFERED:])
    return np.concatenate(found)


class Clock:
    """Seconds of each part, by its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._begun = time.perf_counter()

    def start(self) -> None:
        self._begun = time.perf_counter()

    def lap(self, part: str, result: _Result) -> _Result:
        now = time.perf_counter()
        self.seconds.setdefault(part, []).append(now - self._begun)
        self._begun = time.perf_counter()
        return result


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["Qdrant in a folder", "in memory"])
async def test_choosing_for_ten_thousand_sessions(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    catalog, encoder = encoder_of(rng)
    sessions = sessions_of(rng)
    hints = [Hint(text=f"Prefer things of kind {n}.") for n in range(HINTS)]
    vectors = rng.normal(size=(HINTS, DIMENSION)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    policy = policy_of(encoder, sessions[:400], hints[:TRAINED], vectors[:TRAINED])
    clock = Clock()
    async with opened(kind, tmp_path) as store:
        listed = vectors.tolist()
        for start in range(0, HINTS, BATCH):
            rows = slice(start, start + BATCH)
            await store.add_many(hints[rows], listed[rows])
        del listed
        await store.search([1.0] * DIMENSION, 1)  # the first search reads the vectors
        components = Components(
            catalog=catalog,
            model=ModelGateway(GenericFakeChatModel(messages=iter(())), "scripted"),
            prompts=Prompts.load(),
            embeddings=HashedWordEmbeddings(DIMENSION),
            encoder=encoder,
            hint_store=store,
            hint_policy=policy,
            hints_offered=OFFERED,
        )
        for _ in range(ROUNDS):
            # The encoder keeps 4,096 sessions, and by the end of a round they are others.
            clock.start()
            chosen = clock.lap("end to end", await choose_for(sessions, components))
            expected, places = chosen.hint_ids, chosen.offer.candidates
            del chosen
            clock.start()
            states, queries = encoder.states(sessions), encoder.queries(sessions)
            asked: list[list[float]] = clock.lap("encoding", queries.tolist())
            found = clock.lap("search", await store.search_many(asked, OFFERED))
            offer = clock.lap("offer", build_offer(states, found, DIMENSION))
            choices = clock.lap("policy", policy.choose(offer))
            # As they would otherwise be taken away at numpy's cost.
            del found, asked
            clock.start()
            nearest = clock.lap("numpy", search_with_numpy(queries, units))
            assert choices.hint_ids == expected
            assert (offer.candidates == places).all()
        ids = np.array([hint.hint_id for hint in hints])
        own = np.array(offer.hint_ids)[offer.candidates]
        # Of equals at the end of the list numpy may have taken another one.
        assert (np.sort(own, axis=1) == np.sort(ids[nearest], axis=1)).mean() > 0.999
    show(kind, states.shape[1], clock.seconds)


def show(kind: str, state_dim: int, seconds: dict[str, list[float]]) -> None:
    parts = ("encoding", "search", "offer", "policy")
    sums = [sum(each) for each in zip(*(seconds[part] for part in parts), strict=True)]
    shares = {
        part: median(own / whole for own, whole in zip(seconds[part], sums, strict=True))
        for part in parts
    }

    def beside_numpy(part: str) -> float:
        pairs = zip(seconds[part], seconds["numpy"], strict=True)
        return median(own / exact for own, exact in pairs)

    whole, exact = median(seconds["end to end"]), median(seconds["numpy"])
    print(
        f"\n{SESSIONS} sessions, states of {state_dim}, {HINTS} hints of {DIMENSION} dimensions"
        f" ({kind}), {OFFERED} offered; medians of {ROUNDS}\n"
        f"end to end     {SESSIONS / whole:7.0f} decisions/s, {whole:.2f} s,"
        f" {beside_numpy('end to end'):.1f} x numpy's search alone\n"
        + "".join(
            f"{part:<14} {shares[part]:7.1%}  {beside_numpy(part):5.2f} x numpy\n" for part in parts
        )
        + f"numpy, search  {SESSIONS / exact:7.0f} searches/s, {exact:.2f} s"
        f" (one product and argpartition in blocks of {BLOCK})"
    )
