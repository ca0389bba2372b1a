"""What pairs were collected with, kept beside them, lest two collections end in one file."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.app.preferences.reward_modelling import TimeParts, obtain_reward_model, reward_of
from agentrec.app.preferences.text_writing import factors_of
from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError
from agentrec.graphs.preferences.collection_graph import (
    PreferenceContext,
    PreferenceInput,
    PreferenceState,
    build_preference_graph,
)
from agentrec.graphs.preferences.pairing import PairingRules, UserCap
from agentrec.preferences import PreferencePair
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import write_json, writing
from agentrec.sessions import Session
from agentrec.settings.prefer_settings import PreferSettings
from agentrec.stores.pairs.sinks import JsonlPreferenceSink, iterate_sink
from agentrec.streaming.stream import stream

ORIGIN_FILE = "origin.json"


class CollectionOrigin(BaseModel):
    """What the pairs of a folder are collected with.

    Attributes:
        prefer: The settings.
        seed: Of the draws.
        writer: The name under which the answers of the model that writes are kept.
        reward_model: Hash of the parameters of what rewards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefer: PreferSettings
    seed: int
    writer: str
    reward_model: str

    def claim(self, folder: Path, pairs: Path) -> None:
        """Put this beside pairs that are to come; blocks.

        Args:
            folder: Where it goes.
            pairs: The file of pairs, which may hold some already.

        Raises:
            InputError: If those in the file were collected with something else, or the folder
                cannot be written.
        """
        record = folder / ORIGIN_FILE
        there = pairs.is_file() and pairs.stat().st_size > 0
        # Pairs whose origin nobody knows may be of this one: they say themselves what made them.
        known = self._read(record) if there else None
        if known == self:
            return
        if known is not None:
            raise InputError(
                f"its pairs were collected with other {', '.join(self._differences(known))}: take"
                " the same again, name another run folder, or delete the file",
                file=pairs,
            )
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(record, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def _read(cls, record: Path) -> Self | None:
        try:
            return cls.model_validate_json(record.read_bytes()) if record.is_file() else None
        except ValidationError as error:
            raise InputError("is not the origin of a collection", file=record) from error

    def _differences(self, other: CollectionOrigin) -> list[str]:
        mine, its = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        found = sorted(name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name))
        # Another hash follows from other settings; only by itself is it worth telling.
        return [name for name in found if name != "reward_model"] or ["reward model"]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value, sort_keys=True)
    return flat


PAIRS_FILE = "pairs.jsonl"


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


async def collect_pairs(
    parts: OpenRun, prefer: PreferSettings, folder: Path, writer: Components | None = None
) -> Collection:
    """Collect pairs from training sessions of a run, the later ones where rewards are learnt.

    Interrupted and begun again, it ends with the same file, byte for byte: pairs are appended in
    the order of the sessions, each once, and texts come from the journal. Sessions of a user count
    in that order too, those whose pairs are in the file already before all others.

    Args:
        parts: The run.
        prefer: How.
        folder: Where the pairs go.
        writer: The parts with the model that writes; ``None`` for the run's.

    Raises:
        InputError: If there are too few sessions, the folder cannot be written, or holds pairs that
            were collected with other settings.
        ModelCallError: If the budget is spent.
        StoreError: If the file of pairs is broken or open elsewhere.
    """
    reward_model = await obtain_reward_model(parts, prefer)
    context = PreferenceContext(
        components=writer or parts.components,
        reward_model=reward_of(reward_model, parts, prefer),
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
    file = folder / PAIRS_FILE
    origin = CollectionOrigin(
        # Where the writer lies says less than what it is.
        prefer=prefer.model_copy(update={"writer": None}),
        seed=context.seed,
        writer=context.components.gateway.name,
        reward_model=context.reward_model.parameter_hash,
    )
    await asyncio.to_thread(origin.claim, folder, file)
    async with await JsonlPreferenceSink.open(file) as sink:
        cap = await asyncio.to_thread(_cap, prefer.rules.max_per_user, file)
        with parts.display.counting("Collecting preferences", len(usable)) as advance:

            async def collected(session: Session) -> PreferenceState:
                made = await graph.ainvoke(PreferenceInput(session=session), context=context)
                return cast("PreferenceState", made)

            made = stream(usable, collected, parts.concurrency, ordered=True)
            async with aclosing(made) as outcomes:
                async for outcome in outcomes:
                    state = outcome.result
                    pairs = _admitted(state, cap, tally)
                    await sink.append(pairs)
                    tally.add(state, pairs)
                    advance()
    summary = tally.collection(len(usable))
    with writing(folder):
        model = embedded_folder(writer or parts.components)
        record = {
            **summary.model_dump(mode="json"),
            "prefer": prefer.model_dump(mode="json"),
            "model_folder": None if model is None else str(model),
        }
        await asyncio.to_thread(write_json, folder / "collection.json", record)
    return summary


def embedded_folder(components: Components) -> Path | None:
    """Where the embedded model that writes lies; ``None`` where another model writes."""
    model = components.gateway.model
    return model.catalog_model.folder if isinstance(model, CatalogChatModel) else None


def check_users(dataset: Dataset, rules: PairingRules) -> None:
    """See that pairs can be counted by user where they are to be.

    Raises:
        InputError: If they are, and no training session says whose it is.
    """
    if rules.max_per_user is not None and all(one.user_id is None for one in dataset.train):
        raise InputError(
            f"no training session of {dataset.name} has a user_id to count by; leave the setting"
            " out, or say whose the sessions are",
            field="prefer.rules.max_per_user",
        )


def _cap(limit: int | None, file: Path) -> UserCap:
    """A cap that counts what is in the file; blocks.

    A session whose texts failed the last time may have a pair now. It comes too late: in its place
    later ones of its user are in the file.
    """
    return UserCap(limit, () if limit is None else iterate_sink(file))


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
        if (reason := state.get("rejection")) is not None:
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
