"""What a trained policy is worth on sessions that come later, and where its gain comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from agentrec.app.learning.run_rewards import RunRewards, Split, reopen_run
from agentrec.app.policies.training import TrainingRecord
from agentrec.app.reports.policy_report import attribution_record, attribution_report
from agentrec.app.reports.tables import Report, to_json
from agentrec.assembly import CatalogKnowledge
from agentrec.atomic_files import write_atomically
from agentrec.contracts import HintPolicy
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.evaluation.attribution import (
    Attribution,
    MeasuredHints,
    attribute,
    standard_slices,
)
from agentrec.policies.policy_kinds import load_policy
from agentrec.runs.run_folder import RunFolder, writing
from agentrec.sessions import Session
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings

LIVE = "live"
"""Name under which the policy that is in use is asked for."""

_MOST_CATEGORIES = 12


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A policy on the sessions of a split.

    Attributes:
        name: The policy.
        split: The sessions.
        without: Mean NDCG@10 under no hint, 0 to 1.
        attribution: What was gained over that, and by which hints.
        texts: The hints, by their ids.
    """

    name: str
    split: Split
    without: float
    attribution: Attribution
    texts: dict[str, str]

    def report(self) -> Report:
        """Report the gain, and by which hints it came about."""
        gain = self.attribution.gain.mean
        yield (
            f"{self.name} on {self.split} sessions: NDCG@10 {self.without + gain:.3f},"
            f" without hints {self.without:.3f}."
        )
        if self.split == "valid":
            yield "note: half of these sessions picked it, so expect less elsewhere."
        yield from attribution_report(self.attribution, self.texts)


async def evaluate_policy(
    settings: RunSettings,
    name: str,
    split: Split,
    console: Console,
    *,
    every_hint: bool = False,
) -> Evaluated:
    """Let a policy choose for the sessions of a split, and measure what comes of it.

    Only what it chose is asked of the model, and of that only what was not asked before. The
    report is put beside the policy as ``evaluation.SPLIT.json``.

    Args:
        settings: Those of the run.
        name: The policy, or ``live``.
        split: ``valid`` or ``test``.
        console: Where progress is shown.
        every_hint: Whether to measure what every hint would have brought every session, which
            tells what a hint is worth where it was not chosen.

    Raises:
        InputError: If there is no such policy or no session.
        ModelCallError: If a call failed for good; ask again to go on.
    """
    folder = policy_folder(RunFolder(settings.run), name)
    policy = await asyncio.to_thread(load_policy, folder)
    nearest = await asyncio.to_thread(offered_to, folder, settings.policy)
    async with reopen_run(settings, console, nearest=nearest) as (parts, rewards):
        sessions = rewards.sessions(split)
        if not sessions:
            raise InputError(f"there is no {split} session", field="data")
        offer = await rewards.offer(split)
        choices = await asyncio.to_thread(policy.choose, offer)
        table = await (rewards.table(split) if every_hint else rewards.measured(split, [choices]))

        def taken_apart() -> Evaluated:
            gained = table.rewarded(offer).gained(choices)
            attribution = attribute(
                choices.hint_ids,
                gained,
                seed=settings.seed,
                # Of few hints measured here and there, the best says nothing.
                measured=MeasuredHints(table.hint_ids, table.gains[:, 1:]) if every_hint else None,
                slices=_slices(sessions, parts.dataset, parts.knowledge, table.ndcg[:, 0]),
            )
            texts = {hint.hint_id: hint.text for hint in rewards.hints}
            without = float(table.ndcg[:, 0].mean())
            file = folder / f"evaluation.{split}.json"
            with writing(file):
                write_atomically(
                    file, (to_json(attribution_record(attribution, texts)) + "\n").encode()
                )
            return Evaluated(name, split, without, attribution, texts)

        return await asyncio.to_thread(taken_apart)


def policy_folder(run: RunFolder, name: str) -> Path:
    """Where a policy of a run is.

    Args:
        run: The run.
        name: The policy, or ``live``.

    Raises:
        InputError: If there is none of that name.
    """
    folder = run.live if name == LIVE else run.policy(name)
    # A name is a folder's name, never a way out of the run.
    there = sorted(one.name for one in run.policies.glob("*/") if (one / "policy.json").is_file())
    if name != LIVE and name not in there:
        known = f"there are {', '.join(there)}" if there else "`agentrec policy train` makes one"
        raise InputError(f"this run has no policy {name!r}; {known}", file=run.path, field="name")
    if not folder.is_dir():
        raise InputError(
            "no policy of this run is live; `agentrec policy train` makes one", file=run.path
        )
    return folder


def offered_to(folder: Path, policy: PolicySettings) -> int | None:
    """Among how many of the nearest hints a policy chooses; blocks.

    Args:
        folder: The policy's.
        policy: Settings to go by where the folder does not tell, as that of a fallback.
    """
    record = TrainingRecord.beside(folder)
    return policy.nearest if record is None else record.policy.nearest


async def chosen_ndcg(
    rewards: RunRewards, split: Split, policies: Sequence[HintPolicy]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """NDCG@10 of the sessions of a split with what policies choose, and where that is a hint.

    Args:
        rewards: Of the run.
        split: Which sessions.
        policies: At least one.

    Returns:
        Both of shape ``[policies, sessions]``.

    Raises:
        ModelCallError: If a call failed for good; ask again to go on.
    """
    offer = await rewards.offer(split)
    choices = [await asyncio.to_thread(policy.choose, offer) for policy in policies]
    table = await rewards.measured(split, choices)
    rewarded = table.rewarded(offer)
    ndcg = np.stack([table.ndcg[:, 0] + rewarded.gained(each) for each in choices])
    # The difference of two single-precision numbers may take their sum a hair out of range.
    return ndcg.clip(0, 1), np.stack([each.options > 0 for each in choices])


def _slices(
    sessions: Sequence[Session],
    dataset: Dataset,
    knowledge: CatalogKnowledge,
    without: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[np.bool_]]:
    """Sessions by length, by what came without a hint, and by what half of their items are."""
    index = dataset.catalog.index
    names, masks = [], []
    for category in knowledge.features.categories:
        shares = np.stack(
            [category.member[[index[one] for one in each.items]].mean(axis=0) for each in sessions]
        )
        names += [f"{category.name} {value}" for value in category.values[: shares.shape[1]]]
        masks += list((shares >= 0.5).T)
    # Most sessions first: a slice of few says little, and every one costs certainty.
    order = sorted(range(len(masks)), key=lambda index: -int(masks[index].sum()))
    return standard_slices(
        history_lengths=np.array([len(session.items) for session in sessions]),
        no_hint_ndcg=without,
        categories={names[index]: masks[index] for index in order[:_MOST_CATEGORIES]},
    )
