"""What a run is made of, as it is written down and compared when the run goes on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentrec.catalog import clean_text
from agentrec.data import Dataset
from agentrec.llm.prompts.templates import Prompts
from agentrec.llm.providers.secrets import masked, without_secrets
from agentrec.settings.run_settings import RunSettings

_VERSIONED = ("agentrec", "langchain-core", "langgraph", "qdrant-client", "torch", "transformers")
# How fast, how patiently and for how much a model is asked changes no answer. Where data and
# prompts lie does not either: their hashes stand for what they are.
_CONDITIONS = frozenset({"limits", "retries", "budget", "prices"})
_PLACES = ("data", "prompts")
_ELSEWHERE = frozenset({"data", "run", "prompts", "llm"})
# What comes after the demonstration is recorded where it lies.
_LATER = frozenset({"prefer"})
_CREDENTIALS = re.compile(r"//[^/\s]*@|//\S*\?")
_SHOWN = ("structured", "shuffles", "max_candidates", "label_length")


def manifest_of(
    settings: RunSettings, dataset: Dataset, prompts: Prompts, model: str | None
) -> Mapping[str, object]:
    """Put a manifest together; keys to accounts are never in it.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        model: The model's identity; ``None`` for the embedded one.
    """
    told = settings.model_dump(mode="json")
    decisive = {name: told[name] for name in told if name not in _CONDITIONS | _ELSEWHERE | _LATER}
    if decisive["backbone"] is None:
        # As in a run that was made before there was one.
        del decisive["backbone"]
    identity = {
        **decisive,
        **{name: told["llm"][name] for name in _SHOWN},
        "llm": model or _embedded_model_version(),
        "data_hash": dataset.content_hash,
        "prompts_hash": prompts.content_hash,
    }
    conditions = {name: told[name] for name in sorted(_CONDITIONS)}
    sizes = {name: len(sessions) for name, sessions in dataset.splits()}
    return {
        "identity": without_secrets(identity),
        # Not what the run is, but where it is found again by what goes on with it.
        "sources": {**{name: _absolute(told[name]) for name in _PLACES}, "llm": _findable(told)},
        "conditions": {**conditions, "timeout": settings.llm.timeout},
        "data": {"name": dataset.name, "items": len(dataset.catalog), "sessions": sizes},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    }


def settings_in(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a manifest tells of, for ``load_settings`` to begin with.

    Raises:
        TypeError, KeyError: If it is not a manifest.
    """
    identity, conditions = dict(manifest["identity"]), dict(manifest["conditions"])
    told = {name: identity[name] for name in RunSettings.model_fields if name in identity}
    told.setdefault("backbone", None)
    told.pop("llm", None)
    told |= {name: conditions[name] for name in _CONDITIONS}
    sources = manifest["sources"]
    return told | {name: sources[name] for name in (*_PLACES, "llm") if sources[name] is not None}


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _findable(told: Mapping[str, Any]) -> object:
    """The model's settings without what is, or may hold, a key to an account."""
    llm = dict(told["llm"])
    # An address may hold a password, or a key behind its question mark.
    held = {**llm["parameters"], "base_url": llm["base_url"]}
    kept = {name: value for name, value in held.items() if not _may_hold_a_key(value)}
    if kept.pop("base_url", None) is None:
        del llm["base_url"]
    return without_secrets({**llm, "parameters": kept})


def _may_hold_a_key(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_may_hold_a_key, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_may_hold_a_key, value))
    told = str(value)
    return masked(told) != clean_text(told, len(told) + 1) or bool(_CREDENTIALS.search(told))


def run_name(manifest: Mapping[str, object]) -> str:
    """A name for what a run is made of, the same wherever its folder lies: 12 hex digits."""
    told = json.dumps(manifest["identity"], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _embedded_model_version() -> str:
    # Not above: runs with another model need not load transformers.
    from agentrec.embedded_model.teaching.model_cache import RECIPE_VERSION

    return f"embedded, recipe {RECIPE_VERSION}"
