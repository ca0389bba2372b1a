"""Rewards of a run's sessions under its hints: measured once, kept in the run folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.reward_measurement import fill_cells, fill_reward_table, num_cells
from agentrec.app.reports.run_report import usage_printer
from agentrec.errors import InputError
from agentrec.graphs.recommendation.build_offer import offer_hints
from agentrec.hint_offers import NO_CANDIDATE, HintChoices, HintOffer, RewardedOffer
from agentrec.hints import Hint
from agentrec.policies.rewards.reward_table import RewardShape, RewardTable
from agentrec.policies.rewards.successive_halving import Cell, SuccessiveHalving
from agentrec.runs.open_run import OpenRun, open_run, resolve_run
from agentrec.runs.run_folder import writing
from agentrec.sessions import Session
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a policy is trained on, selected by and judged by.

    Attributes:
        train: Training sessions.
        picking: Validation sessions that select among iterates and hints: every other one, from
            the first, or all where nothing is to be judged.
        judging: The others, whose rewards are always NDCG differences: they decide what may go
            live.
    """

    train: RewardedOffer
    picking: RewardedOffer
    judging: RewardedOffer


class RunRewards:
    """Rewards of the sessions of a run under the hints of its knowledge base.

    What is in the run folder is not measured again; new measurements are written there. A table
    is read once and then kept, and written only if it changed. Every answer is in the journal as
    well, so nothing is paid twice even if a file was lost.

    Args:
        run: The run, open.
        hints: Its hints.
    """

    def __init__(self, run: OpenRun, hints: Sequence[Hint]) -> None:
        self._run = run
        self.hints = tuple(hints)
        self._offers: dict[Split, HintOffer] = {}
        self._tables: dict[Split, RewardTable] = {}

    def sessions(self, split: Split) -> Sequence[Session]:
        """The sessions of a split that hints are measured on, in order of time."""
        dataset = self._run.dataset
        if split == "test":
            return dataset.test
        return (dataset.train if split == "train" else dataset.valid)[
            -self._run.settings.max_rewarded :
        ]

    async def offer(self, split: Split) -> HintOffer:
        """What the recommendation graph would offer the sessions of a split."""
        if split not in self._offers:
            self._offers[split] = await offer_hints(self.sessions(split), self._run.components)
        return self._offers[split]

    async def table(self, split: Split, plan: SuccessiveHalving | None = None) -> RewardTable:
        """Measure a split under every hint that its sessions are offered, or as planned.

        Raises:
            ModelCallError: If a call failed for good; ask again to resume.
        """
        known = await self._known(split)
        if plan is None:
            offer = await self.offer(split)
            return await self._filled(split, _cells_of(offer, self.hints), known)
        sessions, run = self.sessions(split), self._run
        count = num_cells(sessions, self.hints, plan)
        ids = tuple(session.session_id for session in sessions)
        hint_ids = tuple(hint.hint_id for hint in self.hints)
        if (
            known is not None
            and (known.session_ids, known.hint_ids) == (ids, hint_ids)
            and int(known.measured.sum()) >= count
        ):
            return known
        with run.display.counting(_title(split), count) as advance:
            table = await fill_reward_table(
                sessions, self.hints, run.components, run.concurrency, advance, halving=plan
            )
        if known is not None:
            # The file must keep what was measured beyond the plan.
            others = await self._filled(split, (), known)
            table = RewardTable(ids, hint_ids, np.where(table.measured, table.ndcg, others.ndcg))
        await self._keep(split, table)
        return table

    async def measured(self, split: Split, choices: Iterable[HintChoices]) -> RewardTable:
        """Measure a split under no hint and under policies' choices on ``offer(split)``.

        Raises:
            ModelCallError: If a call failed for good; ask again to resume.
        """
        columns = _columns(await self.offer(split), self.hints)
        cells: set[Cell] = set()
        for each in choices:
            chosen = columns[each.hint_indices].tolist()
            cells.update((row, column) for row, column in enumerate(chosen) if column)
        return await self._filled(split, cells, await self._known(split))

    async def training_data(
        self,
        plan: SuccessiveHalving | None = None,
        shape: RewardShape = "ndcg",
        *,
        judged: bool = True,
        noise_seed: int | None = None,
    ) -> TrainingData:
        """Measure the data that a policy is trained on; all for selection unless ``judged``.

        ``plan`` says which hints are tried on which training session. With ``noise_seed``, rewards
        are shuffled between sessions and hints.

        Raises:
            InputError: If there is no training session, or no pair of validation sessions.
            ModelCallError: If a call failed for good; ask again to resume.
        """
        if not self.sessions("train"):
            raise InputError("there is no training session to learn from", field="data")
        if len(self.sessions("valid")) < 2:
            raise InputError(
                "a policy needs at least 2 validation sessions: one to pick by and one to judge by",
                field="data",
            )
        train = await self.table("train", plan)
        valid = await self.table("valid")
        offers = await self.offer("train"), await self.offer("valid")

        def split() -> TrainingData:
            tables = train, valid
            if noise_seed is not None:
                tables = (
                    train.shuffled_across_sessions(noise_seed),
                    valid.shuffled_across_sessions(noise_seed + 1),
                )
            picking = tables[1].rewarded(offers[1], shape).rows(slice(0, None, 2 if judged else 1))
            judging = tables[1].rewarded(offers[1]).rows(slice(1, None, 2) if judged else slice(0))
            return TrainingData(tables[0].rewarded(offers[0], shape), picking, judging)

        return await asyncio.to_thread(split)

    async def _filled(
        self, split: Split, cells: Iterable[Cell], known: RewardTable | None
    ) -> RewardTable:
        run, sessions, title = self._run, self.sessions(split), _title(split)
        at_once, display = run.concurrency, run.display
        table = await fill_cells(
            sessions, self.hints, cells, run.components, at_once, display, title, known=known
        )
        await self._keep(split, table)
        return table

    async def _known(self, split: Split) -> RewardTable | None:
        """What was measured before, of any sessions and hints."""
        if split not in self._tables:
            found = await asyncio.to_thread(_read, self._run.folder.rewards(split))
            if found is None:
                return None
            self._tables[split] = found
        return self._tables[split]

    async def _keep(self, split: Split, table: RewardTable) -> None:
        file, known = self._run.folder.rewards(split), self._tables.get(split)

        def save() -> None:
            with writing(file):
                table.save(file)

        if known is None or not await asyncio.to_thread(known.same_as, table):
            await asyncio.to_thread(save)
        # Last: what could not be written is written when it is asked for again.
        self._tables[split] = table


def _read(file: Path) -> RewardTable | None:
    """The table in a file, if there is one that can be read; blocks."""
    try:
        return RewardTable.load(file) if file.is_file() else None
    except InputError:
        # What it held is in the journal, and costs nothing again.
        return None


def _columns(offer: HintOffer, hints: Sequence[Hint]) -> npt.NDArray[np.int64]:
    """Column of each hint of an offer in a table of ``hints``; 0, no hint, for the last entry."""
    column = {hint.hint_id: 1 + index for index, hint in enumerate(hints)}
    return np.array([*(column[hint.hint_id] for hint in offer.hints), 0], dtype=np.int64)


def _cells_of(offer: HintOffer, hints: Sequence[Hint]) -> list[Cell]:
    """Every hint of a table that a session is offered."""
    columns = _columns(offer, hints)
    rows, slots = np.nonzero(offer.candidates != NO_CANDIDATE)
    return list(zip(rows.tolist(), columns[offer.candidates[rows, slots]].tolist(), strict=True))


def _title(split: Split) -> str:
    return f"Rewards of hints, {split} sessions"


@asynccontextmanager
async def reopen_run(
    settings: RunSettings, console: Console, *, nearest: int | None = None
) -> AsyncIterator[tuple[OpenRun, RunRewards]]:
    """Open a run that has hints, with the rewards of its sessions.

    Policies choose among the ``nearest`` hints. The settings are those of ``settings_of_run``.

    Raises:
        InputError: If settings or data are not those of the run, or it has no hint yet.
        StoreError: If the hint store cannot be opened.
    """
    display = ConsoleProgress(console)
    resolved = await resolve_run(settings, display)
    await resolved.begin()
    no_hints = InputError(
        "this run has no hints; `agentrec demo` with the same --run learns some, and"
        " `agentrec kb add` adds one",
        file=resolved.folder.path,
    )
    if settings.hints is None and not resolved.folder.knowledge_base.is_dir():
        raise no_hints
    usage = usage_printer(console, always=False)
    async with open_run(resolved, display, on_usage=usage) as run:
        hints = await run.components.hint_store.all()
        if not hints:
            raise no_hints
        offered = PolicySettings(nearest=nearest).hints_offered(settings.max_hints)
        run = replace(run, components=replace(run.components, hints_offered=offered))
        yield run, RunRewards(run, hints)
