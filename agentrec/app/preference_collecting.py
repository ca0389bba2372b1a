"""Collecting preference pairs from many sessions, each once, in the order of the sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, ConfigDict

from agentrec.app.prefer_settings import PreferSettings
from agentrec.app.preference_texts import factors_of
from agentrec.app.reward_modelling import TimeParts, obtain_reward_model
from agentrec.app.run_files import writing
from agentrec.app.run_parts import RunParts
from agentrec.graphs.pairing import UserCap
from agentrec.graphs.preference_collection import (
    PreferenceInput,
    PreferenceState,
    build_preference_graph,
)
from agentrec.graphs.preference_context import PreferenceParts
from agentrec.policies.reward_model.batching import BatchedRewardModel
from agentrec.preferences import PreferencePair
from agentrec.runs.run_folder import write_json
from agentrec.sessions import Session
from agentrec.stores.preference_sinks.jsonl_file import JsonlPreferenceSink

Piece = TypeVar("Piece")
Made = TypeVar("Made")


class Collection(BaseModel):
    """What came of collecting; ``collection.json`` beside the pairs.

    Attributes:
        sessions: How many sessions were gone through.
        texts: How many texts were written.
        failures: How many could not be.
        pairs: How many pairs there are, structure pairs included.
        refused: Sessions without a pair, by reason.
        mean_value: Mean value of all texts, 0 to 1.
        mean_best: Mean over sessions of the best text's value, 0 to 1.
        mean_worst: The same of the worst one.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int
    texts: int
    failures: int
    pairs: int
    refused: dict[str, int]
    mean_value: float
    mean_best: float
    mean_worst: float


async def collect_pairs(parts: RunParts, prefer: PreferSettings) -> Collection:
    """Collect pairs from the later training sessions of a run.

    Interrupted and begun again, it ends with the same file, byte for byte: pairs are appended in
    the order of the sessions, each once, and texts come from the journal.

    Args:
        parts: The run.
        prefer: How.

    Raises:
        InputError: If there are too few sessions, or the folder cannot be written.
        ModelCallError: If the budget is spent.
        StoreError: If the file of pairs is broken or open elsewhere.
    """
    reward_model = await obtain_reward_model(parts, prefer)
    context = PreferenceParts(
        components=parts.components,
        reward_model=BatchedRewardModel(reward_model),
        factors=await factors_of(parts),
        samples=prefer.samples,
        temperature=prefer.temperature,
        shown_share=prefer.shown_share,
        rules=prefer.rules,
        seed=parts.settings.seed,
    )
    graph = build_preference_graph()
    sessions = TimeParts.of(parts.dataset.train, prefer).collecting
    usable = [one for one in sessions if one.target is not None and one.candidates]
    tally = _Tally()
    file = parts.folder.preferences / "pairs.jsonl"
    async with await JsonlPreferenceSink.open(file) as sink:
        cap = UserCap(prefer.rules.max_per_user)
        with parts.display.counting("Collecting preferences", len(usable)) as advance:

            async def collected(session: Session) -> PreferenceState:
                made = await graph.ainvoke(PreferenceInput(session=session), context=context)
                return cast("PreferenceState", made)

            async for state in in_order(usable, collected, parts.concurrency):
                pairs = _admitted(state, cap, tally)
                await sink.append(pairs)
                tally.add(state, pairs)
                advance()
    told = tally.collection(len(usable))
    with writing(parts.folder.preferences):
        record = {**told.model_dump(mode="json"), "prefer": prefer.model_dump(mode="json")}
        await asyncio.to_thread(write_json, parts.folder.preferences / "collection.json", record)
    return told


def _admitted(state: PreferenceState, cap: UserCap, tally: _Tally) -> Sequence[PreferencePair]:
    pairs = state["pairs"]
    refused = next((found for one in pairs if (found := cap.admit(one)) is not None), None)
    if refused is not None:
        tally.refused[refused.reason] += 1
        return ()
    return pairs


class _Tally:
    """Counts while collecting."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.texts = self.failures = self.pairs = 0
        self.best: list[float] = []
        self.worst: list[float] = []
        self.total = 0.0

    def add(self, state: PreferenceState, pairs: Sequence[PreferencePair]) -> None:
        values = [one.reward.value for one in state["texts"] if one.reward is not None]
        self.texts += len(state["texts"])
        self.failures += len(state.get("failures", ()))
        self.pairs += len(pairs)
        self.total += sum(values)
        if values:
            self.best.append(max(values))
            self.worst.append(min(values))
        if (reason := state.get("refused")) is not None:
            self.refused[reason] += 1

    def collection(self, sessions: int) -> Collection:
        return Collection(
            sessions=sessions,
            texts=self.texts,
            failures=self.failures,
            pairs=self.pairs,
            refused=dict(self.refused.most_common()),
            mean_value=self.total / max(1, self.texts),
            mean_best=sum(self.best) / max(1, len(self.best)),
            mean_worst=sum(self.worst) / max(1, len(self.worst)),
        )


async def in_order(
    pieces: Sequence[Piece], do: Callable[[Piece], Awaitable[Made]], concurrency: int
) -> AsyncIterator[Made]:
    """Results in the order of the pieces, a bounded number of which is being worked on.

    Args:
        pieces: The pieces.
        do: What to do with one.
        concurrency: Most pieces at a time, at least 1.

    Raises:
        Exception: The first failure in the order of the pieces; the others are cancelled and
            awaited first.
    """
    places = asyncio.Semaphore(max(1, concurrency))
    # So far ahead of the one that is waited for, that a slow one holds nobody up, and no further.
    window = 4 * max(1, concurrency)

    async def work(piece: Piece) -> Made:
        async with places:
            return await do(piece)

    tasks: list[asyncio.Task[Made]] = []
    try:
        for place in range(len(pieces)):
            while len(tasks) < min(len(pieces), place + window):
                coroutine = work(pieces[len(tasks)])
                tasks.append(asyncio.create_task(coroutine))
            yield await tasks[place]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
