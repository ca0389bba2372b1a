"""Every kind of hint policy by name: how one is loaded, and what trains one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from agentrec.contracts import HintPolicy, HintPolicyTrainer
from agentrec.errors import InputError
from agentrec.plugins import load_plugin
from agentrec.policies.policy_files import StoredPolicy, read_policy

ENTRY_POINTS = "agentrec.hint_policies"
"""Group of entry points in which an installed package names kinds of its own: the name is the
kind, the object a ``PolicyKind``."""


@dataclass(frozen=True)
class PolicyKind:
    """Where the parts of one kind of policy are, each written ``module:name``.

    Nothing is imported before it is needed, so that knowing of a kind costs nothing.

    Attributes:
        policy: A class with ``from_stored(stored: StoredPolicy) -> HintPolicy``.
        trainer: A class that takes the settings and is a ``HintPolicyTrainer``.
        settings: A pydantic model of its settings.
        resumes: Whether the trainer also takes ``checkpoint``, a folder in which a training that
            is stopped is found again.
    """

    policy: str
    trainer: str
    settings: str
    resumes: bool = False


def _ours(policy: str, trainer: str, settings: str, resumes: bool = False) -> PolicyKind:
    ours = "agentrec.policies."
    return PolicyKind(ours + policy, ours + trainer, ours + settings, resumes)


POLICY_KINDS: Mapping[str, PolicyKind] = MappingProxyType(
    {
        "no_hint": _ours(
            "hint_policies.untrained:NoHintPolicy",
            "hint_policies.untrained:NoHintTrainer",
            "hint_policies.untrained:NoSettings",
        ),
        "fixed": _ours(
            "hint_policies.untrained:FixedHintPolicy",
            "hint_policies.untrained:FixedHintTrainer",
            "hint_policies.untrained:FixedHintSettings",
        ),
        "random": _ours(
            "hint_policies.untrained:RandomHintPolicy",
            "hint_policies.untrained:RandomHintTrainer",
            "hint_policies.untrained:NoSettings",
        ),
        "nearest": _ours(
            "hint_policies.untrained:NearestHintPolicy",
            "hint_policies.untrained:NearestHintTrainer",
            "hint_policies.untrained:NearestHintSettings",
        ),
        # What comes out of it is a fixed policy, and is stored as one.
        "best_single": _ours(
            "hint_policies.untrained:FixedHintPolicy",
            "hint_policies.best_single:BestSingleHintTrainer",
            "hint_policies.untrained:NoSettings",
        ),
        "linucb": _ours(
            "hint_policies.linear_bandits:LinUCBPolicy",
            "hint_policies.linear_bandits:LinUCBTrainer",
            "hint_policies.linear_bandits:LinearBanditConfig",
        ),
        "thompson": _ours(
            "hint_policies.linear_bandits:ThompsonPolicy",
            "hint_policies.linear_bandits:ThompsonTrainer",
            "hint_policies.linear_bandits:LinearBanditConfig",
        ),
        "value_regression": _ours(
            "hint_policies.value_regression:ValueRegressionPolicy",
            "hint_policies.value_regression:ValueRegressionTrainer",
            "hint_policies.value_regression:ValueRegressionConfig",
        ),
        "categorical_ppo": _ours(
            "ppo.policy:CategoricalPPOPolicy",
            "ppo.trainer:CategoricalPPOTrainer",
            "ppo.config:PPOConfig",
            resumes=True,
        ),
        "scoring_ppo": _ours(
            "ppo.policy:ScoringPPOPolicy",
            "ppo.trainer:ScoringPPOTrainer",
            "ppo.config:PPOConfig",
            resumes=True,
        ),
    }
)


def load_policy(folder: Path) -> HintPolicy:
    """Read a policy of any kind.

    Args:
        folder: Where its ``save`` wrote it.

    Raises:
        InputError: The folder holds no whole policy, or one of a kind that nobody knows.
    """
    stored = read_policy(folder)
    try:
        kind = find_kind(stored.kind)
    except InputError as error:
        raise InputError(error.problem, file=stored.description_file, field="kind") from error
    from_stored: Callable[[StoredPolicy], HintPolicy] = import_object(kind.policy).from_stored
    return from_stored(stored)


def trainer_for(
    kind: str,
    settings: BaseModel | Mapping[str, Any] | None = None,
    *,
    checkpoint: Path | None = None,
) -> HintPolicyTrainer:
    """Make what trains policies of one kind.

    Args:
        kind: Its name.
        settings: What the kind can be set to, as its model or as plain data; ``None`` for the
            defaults.
        checkpoint: Folder in which a training that is stopped is found again, for kinds that take
            long enough to have one; ``None`` for none.

    Raises:
        InputError: Nobody knows the kind, or a setting is not one of its.
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
    places = {"checkpoint": checkpoint} if checkpoint is not None and found.resumes else {}
    return cast("HintPolicyTrainer", import_object(found.trainer)(settings, **places))


def find_kind(name: str) -> PolicyKind:
    """Return a built-in kind, or one that an installed package registers.

    Raises:
        InputError: The name is neither; or what is registered is no ``PolicyKind``.
    """
    if name in POLICY_KINDS:
        return POLICY_KINDS[name]
    kind = load_plugin(ENTRY_POINTS, name, POLICY_KINDS)
    if not isinstance(kind, PolicyKind):
        raise InputError(f"the entry point {name!r} of {ENTRY_POINTS} must be a PolicyKind")
    return kind


def import_object(place: str) -> Any:
    """The object that ``module:name`` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
