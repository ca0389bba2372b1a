"""All kinds of policies on the same rewards and the same later sessions, several seeds each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from rich.console import Console

from agentrec.app.learning.run_baselines import baseline_ranks
from agentrec.app.learning.run_rewards import RunRewards, Split, TrainingData, reopen_run
from agentrec.app.policies.evaluation import chosen_ndcg
from agentrec.app.reports.tables import to_json
from agentrec.atomic_files import write_atomically
from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.evaluation.metrics import as_ranks, ndcg_of_ranks
from agentrec.evaluation.policy_comparison import PolicyComparison, compare_policies
from agentrec.hint_offers import RewardedOffer
from agentrec.progress import ProgressDisplay, run_blocking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import writing
from agentrec.sessions import Session
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings

NO_HINT = "no_hint"
COMPARED = (
    NO_HINT,
    "random",
    "nearest",
    "best_single",
    "linucb",
    "thompson",
    "value_regression",
    "categorical_ppo",
    "scoring_ppo",
)
"""What is compared where nobody says what."""


@runtime_checkable
class TrainsSeveralSeeds(Protocol):
    """A trainer that trains several seeds in one computation."""

    def fit_seeds(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seeds: Sequence[int],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Sequence[HintPolicy]:
        """Train a policy for each seed."""
        ...


async def compare(
    settings: RunSettings,
    policies: Sequence[PolicySettings],
    seeds: int,
    split: Split,
    console: Console,
) -> PolicyComparison:
    """Train policies, let each choose for the sessions of a split, and compare what comes of it.

    Behind them comes what ranks without a language model: the baselines of a run's report, but for
    the random one, whose name a policy has. The comparison is put into the run folder as
    ``comparison.SPLIT.json``.

    Args:
        settings: Those of the run.
        policies: Which ones; no hint is among them always.
        seeds: How many seeds of each, from that of the run on, at least 1.
        split: ``valid`` or ``test``.
        console: Where progress is shown.

    Raises:
        InputError: If there is no session, or a policy comes twice.
        ModelCallError: If a call failed for good; ask again to go on.
    """
    async with reopen_run(settings, console, nearest=settings.policy.nearest) as (parts, rewards):
        if not rewards.sessions(split):
            raise InputError(f"there is no {split} session", field="data")
        numbers = [settings.seed + index for index in range(seeds)]
        ndcg, given = await compared_ndcg(rewards, policies, numbers, split, parts.display)
        beside = await _baseline_ndcg(parts, rewards.sessions(split))
        for name, row in beside.items():
            if name not in ndcg:
                ndcg[name], given[name] = row, np.zeros(row.shape, dtype=np.bool_)
        comparison = compare_policies(ndcg, given, seed=settings.seed)
        file = parts.folder.path / f"comparison.{split}.json"
        with writing(file):
            write_atomically(file, (to_json(comparison) + "\n").encode())
        return comparison


def note_on(split: Split, settings: RunSettings) -> str:
    """What there is to say of the rows without a language model."""
    ids = "" if settings.backbone is None else f", {settings.backbone}"
    shown = f"popularity, item_knn, text_similarity{ids}: without a language model and hints."
    if split == "valid" and settings.backbone is not None:
        shown += f" These sessions chose when the training of {settings.backbone} ends."
    return shown


async def _baseline_ndcg(
    run: OpenRun, sessions: Sequence[Session]
) -> dict[str, npt.NDArray[np.float32]]:
    """NDCG@10 of sessions by what needs no language model, ``[1, sessions]`` each."""
    ranks = await baseline_ranks(run, sessions)
    return {
        name: ndcg_of_ranks(as_ranks(row))[None].astype(np.float32)
        for name, row in ranks.items()
        # A policy has this name.
        if name != "random"
    }


async def compared_ndcg(
    rewards: RunRewards,
    policies: Sequence[PolicySettings],
    seeds: Sequence[int],
    split: Split,
    display: ProgressDisplay,
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, npt.NDArray[np.bool_]]]:
    """Train policies and measure what each chooses for the sessions of a split.

    Args:
        rewards: Of the run.
        policies: Which ones; no hint is among them always, and first.
        seeds: Seeds to train each with.
        split: The sessions.
        display: Where progress is shown.

    Returns:
        By name, NDCG@10 and whether a hint was given, ``[seeds, sessions]``; of a policy that is
        the same with every seed, one row.

    Raises:
        InputError: If a policy comes twice.
        ModelCallError: If a call failed for good; ask again to go on.
    """
    wanted = [PolicySettings(kind=NO_HINT), *(one for one in policies if one.kind != NO_HINT)]
    names = [one.kind for one in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{', '.join(twice)}: named twice", field="policies")
    ndcg, given = {}, {}
    for one in wanted:
        data = await rewards.training_data(one.plan(seeds[0]), one.shape, judged=False)
        trained = await _trained(one, data, seeds, display)
        ndcg[one.kind], given[one.kind] = await chosen_ndcg(rewards, split, trained)
        if len(np.unique(np.concatenate([ndcg[one.kind], given[one.kind]], axis=1), axis=0)) == 1:
            ndcg[one.kind], given[one.kind] = ndcg[one.kind][:1], given[one.kind][:1]
    return ndcg, given


async def _trained(
    settings: PolicySettings, data: TrainingData, seeds: Sequence[int], display: ProgressDisplay
) -> Sequence[HintPolicy]:
    trainer = settings.trainer()
    with display.phase(f"Training: {settings.kind}") as report:

        def fit(check: Callable[[], None]) -> Sequence[HintPolicy]:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            if isinstance(trainer, TrainsSeveralSeeds):
                return trainer.fit_seeds(
                    data.train, data.picking, seeds=seeds, on_progress=on_progress
                )
            policies = []
            for index, seed in enumerate(seeds):
                policies.append(
                    trainer.fit(data.train, data.picking, seed=seed, on_progress=lambda *_: check())
                )
                report(index + 1, len(seeds))
            return policies

        return await run_blocking(fit)
