"""What the commands about policies do with what was typed, and training in a run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError
from rich.console import Console

from agentrec.app.learning.run_rewards import Split, reopen_run
from agentrec.app.policies.comparison import COMPARED
from agentrec.app.policies.evaluation import LIVE
from agentrec.app.policies.training import BEST_SINGLE, CURVE_FILE, let_live, train_policy
from agentrec.app.reports.run_report import gate_report
from agentrec.app.reports.tables import show
from agentrec.errors import InputError
from agentrec.policies.no_regret_gate import NO_HINT
from agentrec.policies.policy_files import EncoderRecord
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.validation_messages import first_error, nested_error, validation_message

_TAKEN = (LIVE, NO_HINT, BEST_SINGLE)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


async def train_in_run(
    settings: RunSettings,
    policy: PolicySettings,
    console: Console,
    *,
    seed: int | None = None,
    name: str | None = None,
    live: bool = True,
) -> None:
    """Train a policy of a run, let it go live if it passes the gate, and say what came of it.

    Args:
        settings: Those of the run.
        policy: What to train.
        console: Where to say it.
        seed: Of the training; ``None`` for that of the run.
        name: What to call it; ``None`` for what its settings call it.
        live: Whether it may go live.

    Raises:
        InputError: If the name cannot be one, or the run has no hint.
        ModelCallError: If a call failed for good; the same again goes on.
    """
    called = policy.kind if name is None else name
    if not _NAME.fullmatch(called):
        raise InputError(
            f"{called!r} is no name: letters and digits, with . _ - among them, 64 at most",
            field="name",
        )
    if called in _TAKEN and called != policy.kind:
        raise InputError(f"{called!r} is what something else is called in a run", field="name")
    seed = settings.seed if seed is None else seed
    async with reopen_run(settings, console, nearest=policy.nearest) as (parts, rewards):
        data = await rewards.training_data(policy.plan(settings.seed), policy.shape)
        folder = parts.folder.policy(called)
        encoder = EncoderRecord.of(parts.components.encoder, settings.embeddings)
        trained = await train_policy(
            called, policy, data, folder, parts.display, seed=seed, encoder=encoder
        )
        if live:
            await asyncio.to_thread(
                let_live, parts.folder, called, trained, data, seed=seed, encoder=encoder
            )
            show(gate_report(parts.folder.gate), console)
        shown = [f"{called} is in {folder}"]
        if (folder / CURVE_FILE).is_file():
            shown.append(f"its learning curve is in {folder / CURVE_FILE}")
        for line in shown:
            # A path that is wrapped cannot be copied.
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def changed_policy(known: PolicySettings, given: Mapping[str, Any]) -> PolicySettings:
    """The run's policy settings with what was given in their place.

    Args:
        known: The run's.
        given: By name; ``None`` for what was not given. Settings of the kind are put over those
            that are there, unless the kind is another.

    Raises:
        InputError: If one of them is not right.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    same = changes.get("kind", known.kind) == known.kind
    within = {**(known.settings if same else {}), **changes.get("settings", {})}
    try:
        return PolicySettings.model_validate({**known.model_dump(), **changes, "settings": within})
    except ValidationError as error:
        first = first_error(error)
        keys = [str(part) for part in first["loc"]]
        below = nested_error(first)
        problem = (
            validation_message(first, keys, PolicySettings) if below is None else below.problem
        )
        keys_in_file = ("policy", *keys, *(() if below is None else below.keys))
        raise InputError(problem, field=".".join(keys_in_file)) from error


def wanted_policies(known: PolicySettings, names: Sequence[str]) -> list[PolicySettings]:
    """Settings of the policies that are named, those of the run for its own kind.

    Args:
        known: The run's.
        names: Kinds; none for nine of them.

    Raises:
        InputError: If nobody knows one.
    """
    return [changed_policy(known, {"kind": name}) for name in names or COMPARED]


def split_named(name: str) -> Split:
    """A split by what was typed.

    Raises:
        InputError: If it is neither ``test`` nor ``valid``.
    """
    if name not in ("test", "valid"):
        raise InputError(f"{name!r} is neither test nor valid", field="split")
    return cast("Split", name)
