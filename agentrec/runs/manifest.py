"""The manifest: what a run is made of, written down and compared when the run is resumed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentrec.catalog import clean_text
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.llm.prompts.templates import Prompts
from agentrec.llm.secrets import masked, without_secrets
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.validation_messages import first_error

_VERSIONED = ("agentrec", "langchain-core", "langgraph", "qdrant-client", "torch", "transformers")
# How fast, how patiently and for how much a model is asked changes no answer.
_CONDITIONS = frozenset({"limits", "retries", "budget", "prices"})
# Where things are: hashes of data, prompts and model are in the identity.
_LOCATIONS = ("data", "prompts", "hints", "llm")
# Preferences are recorded beside what is made with them.
_NOT_IDENTITY = _CONDITIONS | {*_LOCATIONS, "run", "prefer"}
# How the model is reached; all else in its section decides what it is shown.
_REACHING_MODEL = frozenset({"name", "temperature", "base_url", "parameters", "timeout"})
_CREDENTIALS = re.compile(r"//[^/\s]*@|//\S*\?")


def manifest_of(
    settings: RunSettings, dataset: Dataset, prompts: Prompts, model: str | None
) -> Mapping[str, object]:
    """Put a manifest together; it never holds a secret.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        model: The model's identity; ``None`` for the embedded one.
    """
    values = settings.model_dump(mode="json")
    decisive = {name: values[name] for name in values if name not in _NOT_IDENTITY}
    if decisive["backbone"] is None:
        # As in a run of a version without backbones.
        del decisive["backbone"]
    llm = values["llm"]
    identity = {
        **decisive,
        **{name: llm[name] for name in llm if name not in _REACHING_MODEL},
        "llm": model or _embedded_model_version(),
        "data_hash": dataset.content_hash,
        "prompts_hash": prompts.content_hash,
    }
    conditions = {name: values[name] for name in sorted(_CONDITIONS)}
    sizes = {name: len(sessions) for name, sessions in dataset.splits()}
    return {
        "identity": without_secrets(identity),
        # Not what the run is, but where whoever reopens it finds what it needs.
        "sources": {
            "data": _absolute(values["data"]),
            "prompts": _absolute(values["prompts"]),
            "hints": _hints_location(values["hints"]),
            "llm": _model_without_secrets(llm),
        },
        "conditions": {**conditions, "timeout": settings.llm.timeout},
        "data": {"name": dataset.name, "items": len(dataset.catalog), "sessions": sizes},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    }


def run_name(manifest: Mapping[str, object]) -> str:
    """Return a name for what a run is made of, wherever its folder is: 12 hex digits."""
    identity = json.dumps(manifest["identity"], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def settings_in(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a manifest holds, to be the lowest source of ``load_settings``.

    Raises:
        TypeError, KeyError: If it is not a manifest.
    """
    identity, conditions = dict(manifest["identity"]), dict(manifest["conditions"])
    found = {name: identity[name] for name in RunSettings.model_fields if name in identity}
    found.setdefault("backbone", None)
    found.pop("llm", None)
    found |= {name: conditions[name] for name in _CONDITIONS}
    sources = {"hints": None, **manifest["sources"]}
    return found | {name: sources[name] for name in _LOCATIONS if sources[name] is not None}


def settings_in_manifest(folder: RunFolder) -> dict[str, Any]:
    """Read the settings that a run was made with.

    Raises:
        InputError: If there is no run, or its manifest is broken or of another version.
    """
    manifest = folder.read_manifest()
    try:
        found = settings_in(manifest)
        RunSettings.model_validate(found)
    except ValidationError as error:
        field = ".".join(str(part) for part in first_error(error)["loc"])
        raise InputError(
            "is not supported by this version", file=folder.manifest, field=field
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "does not say what the run was made with: it is broken, or of an earlier version",
            file=folder.manifest,
        ) from error
    return found


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _hints_location(location: str | None) -> str | None:
    if location is None or _may_hold_secret(location):
        return None
    return location if ":" in location else _absolute(location)


def _model_without_secrets(llm: Mapping[str, Any]) -> object:
    # An address may hold a password, or a key behind its question mark.
    held = {**llm["parameters"], "base_url": llm["base_url"]}
    kept = {name: value for name, value in held.items() if not _may_hold_secret(value)}
    found = dict(llm)
    if kept.pop("base_url", None) is None:
        del found["base_url"]
    return without_secrets({**found, "parameters": kept})


def _may_hold_secret(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_may_hold_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_may_hold_secret, value))
    text = str(value)
    return masked(text) != clean_text(text, len(text) + 1) or bool(_CREDENTIALS.search(text))


def _embedded_model_version() -> str:
    # Not above: runs with another model need not load transformers.
    from agentrec.embedded_model.teaching.model_cache import RECIPE_VERSION

    return f"embedded, recipe {RECIPE_VERSION}"
