"""Every kind of hint policy by name: how one is loaded, and what trains one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from agentrec.contracts import HintPolicy, HintPolicyTrainer
from agentrec.errors import InputError
from agentrec.plugins import HINT_POLICIES, load_plugin
from agentrec.policies.policy_files import read_policy


@dataclass(frozen=True)
class PolicyKind:
    """Where the parts of one kind of policy are, each written ``module:name``.

    Nothing is imported before it is needed.

    Attributes:
        policy: A class with ``from_stored(stored: StoredPolicy) -> HintPolicy``.
        trainer: A class that takes the settings and is a ``HintPolicyTrainer``.
        settings: A pydantic model of its settings.
        resumes: Whether the trainer also takes ``checkpoint``, a folder in which a stopped
            training is found again.
    """

    policy: str
    trainer: str
    settings: str
    resumes: bool = False


def _built_in(
    module: str, policy: str, trainer: str, settings: str, *, trained_in: str = ""
) -> PolicyKind:
    here = f"agentrec.policies.hint_policies.{module}:"
    there = f"agentrec.policies.hint_policies.{trained_in or module}:"
    return PolicyKind(here + policy, there + trainer, here + settings)


def _ppo(name: str) -> PolicyKind:
    here = "agentrec.policies.ppo."
    return PolicyKind(
        f"{here}policy:{name}Policy",
        f"{here}trainer:{name}Trainer",
        f"{here}config:PPOConfig",
        resumes=True,
    )


POLICY_KINDS: Mapping[str, PolicyKind] = MappingProxyType(
    {
        "no_hint": _built_in("untrained", "NoHintPolicy", "NoHintTrainer", "NoSettings"),
        "fixed": _built_in("untrained", "FixedHintPolicy", "FixedHintTrainer", "FixedHintSettings"),
        "random": _built_in("untrained", "RandomHintPolicy", "RandomHintTrainer", "NoSettings"),
        "nearest": _built_in(
            "untrained", "NearestHintPolicy", "NearestHintTrainer", "NearestHintSettings"
        ),
        # Its result is a fixed policy, and is stored as one.
        "best_single": _built_in(
            "untrained",
            "FixedHintPolicy",
            "BestSingleHintTrainer",
            "NoSettings",
            trained_in="best_single",
        ),
        "linucb": _built_in(
            "linear_bandits", "LinUCBPolicy", "LinUCBTrainer", "LinearBanditConfig"
        ),
        "thompson": _built_in(
            "linear_bandits", "ThompsonPolicy", "ThompsonTrainer", "LinearBanditConfig"
        ),
        "value_regression": _built_in(
            "value_regression",
            "ValueRegressionPolicy",
            "ValueRegressionTrainer",
            "ValueRegressionConfig",
        ),
        "categorical_ppo": _ppo("CategoricalPPO"),
        "scoring_ppo": _ppo("ScoringPPO"),
    }
)


def load_policy(folder: Path) -> HintPolicy:
    """Read a policy of any kind.

    Args:
        folder: Where its ``save`` wrote it.

    Raises:
        InputError: The folder holds no whole policy, or one of an unknown kind.
    """
    stored = read_policy(folder)
    try:
        kind = find_kind(stored.kind)
    except InputError as error:
        raise InputError(error.problem, file=stored.description_file, field="kind") from error
    return cast("HintPolicy", import_object(kind.policy).from_stored(stored))


def trainer_for(
    kind: str,
    settings: BaseModel | Mapping[str, Any] | None = None,
    *,
    checkpoint: Path | None = None,
) -> HintPolicyTrainer:
    """Make the trainer of one kind of policy.

    Args:
        kind: Its name.
        settings: Settings of the kind, as its model or as plain data; ``None`` for the defaults.
        checkpoint: Folder in which a stopped training is found again, for kinds that take long
            enough to have one; ``None`` for none.

    Raises:
        InputError: The kind, or one of the settings, is unknown or wrong.
    """
    found = find_kind(kind)
    model: type[BaseModel] = import_object(found.settings)
    if not isinstance(settings, model):
        try:
            plain = settings.model_dump() if isinstance(settings, BaseModel) else settings
            settings = model.model_validate(plain or {})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join((kind, *(str(part) for part in first["loc"])))
            raise InputError(first["msg"], field=field) from error
    options = {"checkpoint": checkpoint} if checkpoint is not None and found.resumes else {}
    return cast("HintPolicyTrainer", import_object(found.trainer)(settings, **options))


def find_kind(name: str) -> PolicyKind:
    """Return a built-in kind, or one that an installed package registers.

    Raises:
        InputError: The name is neither; or what is registered is no ``PolicyKind``.
    """
    if name in POLICY_KINDS:
        return POLICY_KINDS[name]
    kind = load_plugin(HINT_POLICIES, name, POLICY_KINDS)
    if not isinstance(kind, PolicyKind):
        raise InputError(f"the entry point {name!r} of {HINT_POLICIES} must be a PolicyKind")
    return kind


def import_object(path: str) -> Any:
    """Import the object that ``module:name`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
