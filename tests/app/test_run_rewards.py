"""What hints bring the sessions of a run: measured once, and found again whatever became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from rich.console import Console
from testing.answering import (
    DIMENSION,
    TITLES,
    WRONG,
    make_catalog,
    make_components,
    make_session,
    targets_of,
    world,
)

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.run_rewards import RunRewards
from agentrec.assembly import CatalogKnowledge
from agentrec.contracts import HintStore
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.policies.hint_policies.untrained import NearestHintPolicy
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.rewards.successive_halving import SuccessiveHalving
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import RunFolder
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.hints.lifecycle import admit, retire
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(len(TITLES))]
HINTS = [Hint(text=f"Prefer {title} and films of kind {title[-1]}.") for title in TITLES[:12]]
TRAIN, VALID, TEST = 12, 7, 7
DATA = Dataset(
    "films",
    make_catalog(),
    tuple(SESSIONS[:TRAIN]),
    tuple(SESSIONS[TRAIN : TRAIN + VALID]),
    tuple(SESSIONS[TRAIN + VALID :]),
)
HALVING = SuccessiveHalving()


def position(hint: str | None, last: str) -> int | str:
    if hint is None:
        return 5
    number = (TITLES.index(last.split(" (")[0]) + len(hint) + ord(hint[-2])) % 7
    return WRONG if number == 0 else 1 + number


@dataclass(frozen=True)
class Opened:
    """A run that is open, with a model that counts its calls."""

    parts: OpenRun
    rewards: RunRewards
    store: HintStore
    model: ScriptedChatModel

    @property
    def calls(self) -> int:
        return len(self.model.calls)

    async def again(self) -> RunRewards:
        """As the next command would see the run."""
        return RunRewards(self.parts, await self.store.all())


@asynccontextmanager
async def opened(
    folder: Path,
    hints: Sequence[Hint] = HINTS,
    data: Dataset = DATA,
    offered: int = 32,
    **changes: object,
) -> AsyncIterator[Opened]:
    model = ScriptedChatModel([world(position, targets_of(SESSIONS, make_catalog()))] * 1000)
    store, embeddings = InMemoryHintStore(DIMENSION), HashedWordEmbeddings(DIMENSION)
    await store.add_many(hints, await embeddings.aembed_documents([hint.text for hint in hints]))
    async with await CallJournal.open(folder / "calls.sqlite") as journal:
        gateway = ModelGateway(model, "one", journal)
        parts = OpenRun(
            RunSettings.model_validate(changes),
            data,
            cast("CatalogKnowledge", None),
            replace(make_components(model, hint_store=store, hints_offered=offered), model=gateway),
            RunFolder(folder),
            ConsoleProgress(Console(quiet=True)),
            journal,
        )
        yield Opened(parts, RunRewards(parts, await store.all()), store, model)


def same(first: RewardTable, second: RewardTable) -> bool:
    ids = (first.session_ids, first.hint_ids) == (second.session_ids, second.hint_ids)
    return ids and np.array_equal(first.ndcg, second.ndcg, equal_nan=True)


async def test_what_is_in_the_folder_is_not_asked_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as run:
        table = await run.rewards.table("train")
        assert run.calls == TRAIN * (1 + len(HINTS)) == int(table.measured.sum())
        assert same(await (await run.again()).table("train"), table)
        assert run.calls == TRAIN * (1 + len(HINTS))
    (tmp_path / "calls.sqlite").unlink()
    async with opened(tmp_path) as run:
        assert same(await run.rewards.table("train"), table)
        assert run.calls == 0


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no table PAR1", b"cut"])
@pytest.mark.parametrize("plan", [None, HALVING], ids=["all", "halving"])
async def test_a_file_that_is_lost_or_broken_comes_back_without_a_call(
    content: bytes | None, plan: SuccessiveHalving | None, tmp_path: Path
) -> None:
    file = RunFolder(tmp_path).rewards("train")
    async with opened(tmp_path) as run:
        table = await run.rewards.table("train", plan)
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if content == b"cut" else content)
    async with opened(tmp_path) as run:
        assert same(await run.rewards.table("train", plan), table)
        assert run.calls == 0
    assert same(RewardTable.load(file), table)


async def test_columns_follow_the_knowledge_base(tmp_path: Path) -> None:
    first, *others = HINTS[:5]
    async with opened(tmp_path, HINTS[:5]) as run:
        before = await run.rewards.table("train")
        await retire(run.store, [first.hint_id], "of no use")
        new = Hint(text="Prefer what is new.")
        [vector] = await HashedWordEmbeddings(DIMENSION).aembed_documents([new.text])
        await run.store.add(new, vector)
        asked = run.calls
        after = await (await run.again()).table("train")
        assert set(after.hint_ids) == {hint.hint_id for hint in (*others, new)}
        assert run.calls == asked + TRAIN, "one new hint, once a session"
        kept = [hint.hint_id for hint in others]
        assert same(after.with_hints(kept), before.with_hints(kept))
        await admit(run.store, [first.hint_id], "after all")
        back = await (await run.again()).table("train")
        assert same(back.with_hints(before.hint_ids), before)
        assert run.calls == asked + TRAIN, "what a hint brought is known though it was away"


async def test_halving_takes_as_many_calls_as_it_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as run:
        table = await run.rewards.table("train", HALVING)
        assert run.calls == TRAIN * HALVING.calls_per_row(len(HINTS)) == TRAIN * 10
        assert int(table.measured.sum()) == run.calls
        assert same(await (await run.again()).table("train", HALVING), table)
        whole = await run.rewards.table("train")
        assert run.calls == TRAIN * (1 + len(HINTS))
        assert np.array_equal(whole.ndcg[table.measured], table.ndcg[table.measured])
        assert same(await run.rewards.table("train", HALVING), whole), "what was tried counts"


async def test_halving_forgets_nothing_that_was_measured_before(tmp_path: Path) -> None:
    async with opened(tmp_path, offered=2) as run:
        near = await run.rewards.table("train")
        table = await run.rewards.table("train", HALVING)
        assert table.measured[near.measured].all()
        assert int(table.measured.sum()) == run.calls > TRAIN * 10
        assert same(RewardTable.load(run.parts.folder.rewards("train")), table)


async def test_only_what_is_offered_is_measured(tmp_path: Path) -> None:
    async with opened(tmp_path, offered=2) as run:
        table = await run.rewards.table("valid")
        offer = await run.rewards.offer("valid")
        assert run.calls == VALID * (1 + 2) == int(table.measured.sum())
        rewarded = table.rewarded(offer)
        assert (rewarded.measured[:, 1:] == offer.present).all()


async def test_choices_are_measured_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as run:
        offer = await run.rewards.offer("test")
        choices = NearestHintPolicy().choose(offer)
        table = await run.rewards.measured("test", [choices, choices])
        assert run.calls == TEST * 2
        assert np.isfinite(table.rewarded(offer).gained(choices)).all()
        await (await run.again()).measured("test", ())
        assert same(await run.rewards.measured("test", [choices]), table)
        assert run.calls == TEST * 2


async def test_even_validation_sessions_pick_and_odd_ones_judge(tmp_path: Path) -> None:
    async with opened(tmp_path) as run:
        data = await run.rewards.training_data(shape="hit")
        table, offer = await run.rewards.table("valid"), await run.rewards.offer("valid")
        assert (len(data.train), len(data.picking), len(data.judging)) == (TRAIN, 4, 3)
        shaped, plain = table.rewarded(offer, "hit").rewards, table.rewarded(offer).rewards
        np.testing.assert_array_equal(data.picking.rewards, shaped[::2])
        np.testing.assert_array_equal(data.judging.rewards, plain[1::2])
        np.testing.assert_array_equal(data.judging.offer.states, offer.states[1::2])
        assert set(np.unique(data.train.rewards)) <= {-1, 0, 1}
        assert not np.array_equal(shaped, plain)
        everyone = await run.rewards.training_data(judged=False)
        assert (len(everyone.picking), len(everyone.judging)) == (VALID, 0)
        assert run.calls == (TRAIN + VALID) * (1 + len(HINTS))


async def test_the_latest_sessions_are_rewarded_and_all_test_sessions(tmp_path: Path) -> None:
    async with opened(tmp_path, max_rewarded=3) as run:
        sizes = {split: run.rewards.sessions(split) for split in ("train", "valid", "test")}  # type: ignore[arg-type]
        assert list(sizes["train"]) == SESSIONS[TRAIN - 3 : TRAIN]
        assert list(sizes["valid"]) == SESSIONS[TRAIN + VALID - 3 : TRAIN + VALID]
        assert len(sizes["test"]) == TEST


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ()}, "no training session"),
        ({"valid": DATA.valid[:1]}, "at least 2 validation sessions"),
        ({"valid": ()}, "at least 2 validation sessions"),
    ],
)
async def test_too_few_sessions_are_refused_before_anything_is_paid(
    splits: dict[str, object], message: str, tmp_path: Path
) -> None:
    data = cast("Dataset", SimpleNamespace(**{**vars(DATA), **splits}))
    async with opened(tmp_path, data=data) as run:
        with pytest.raises(InputError, match=message):
            await run.rewards.training_data()
        assert run.calls == 0


async def test_a_file_that_cannot_be_written_is_named_and_written_later(tmp_path: Path) -> None:
    file = RunFolder(tmp_path).rewards("valid")
    (file / "in the way").mkdir(parents=True)
    async with opened(tmp_path) as run:
        with pytest.raises(InputError, match="cannot be written") as caught:
            await run.rewards.table("valid")
        (file / "in the way").rmdir()
        file.rmdir()
        table = await run.rewards.table("valid")
    assert caught.value.file == file
    assert same(RewardTable.load(file), table)


async def test_a_table_is_read_once_and_written_only_with_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    save, load = RewardTable.save, RewardTable.load

    def saved(table: RewardTable, path: Path) -> None:
        done.append("write")
        save(table, path)

    def loaded(path: Path) -> RewardTable:
        done.append("read")
        return load(path)

    monkeypatch.setattr(RewardTable, "save", saved)
    monkeypatch.setattr(RewardTable, "load", staticmethod(loaded))
    async with opened(tmp_path, HINTS[:3]) as run:
        await run.rewards.measured("train", ())
        assert done == ["write"]
        choices = NearestHintPolicy().choose(await run.rewards.offer("train"))
        some = await run.rewards.measured("train", [choices])
        assert done == ["write"] * 2
        for _ in range(2):
            assert same(await run.rewards.measured("train", [choices]), some)
        assert done == ["write"] * 2
        again = await run.again()
        for _ in range(2):
            assert same(await again.measured("train", [choices]), some)
        assert done == ["write", "write", "read"]
        whole = await again.table("train")
        assert done == ["write", "write", "read", "write"]
        assert same(load(run.parts.folder.rewards("train")), whole)
        assert whole.share_measured > some.share_measured
