"""What a run is made of, as it is written down and compared when the run goes on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping

from agentrec.app.settings import DemoSettings
from agentrec.data import Dataset
from agentrec.llm.catalog_lm.teaching import RECIPE_VERSION
from agentrec.llm.prompts import Prompts
from agentrec.llm.secret_names import without_secrets

_VERSIONED = ("agentrec", "langchain-core", "langgraph", "qdrant-client", "torch", "transformers")
# How fast, how patiently and for how much a model is asked changes no answer. Where data and
# prompts lie does not either: their hashes stand for what they are.
_CONDITIONS = frozenset({"limits", "retries", "budget", "prices"})
_ELSEWHERE = frozenset({"data", "run", "prompts", "llm"})
_SHOWN = ("structured", "shuffles", "max_candidates", "label_length")


def manifest_of(
    settings: DemoSettings, dataset: Dataset, prompts: Prompts, model: str | None
) -> Mapping[str, object]:
    """Put a manifest together; keys to accounts are never in it.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        model: The model's identity; ``None`` for the embedded one.
    """
    told = settings.model_dump(mode="json")
    decisive = {name: told[name] for name in told if name not in _CONDITIONS | _ELSEWHERE}
    identity = {
        **decisive,
        **{name: told["llm"][name] for name in _SHOWN},
        "llm": model or f"embedded, recipe {RECIPE_VERSION}",
        "data_hash": dataset.content_hash,
        "prompts_hash": prompts.content_hash,
    }
    conditions = {name: told[name] for name in sorted(_CONDITIONS)}
    sizes = {name: len(sessions) for name, sessions in dataset.splits()}
    return {
        "identity": without_secrets(identity),
        "conditions": {**conditions, "timeout": settings.llm.timeout},
        "data": {"name": dataset.name, "items": len(dataset.catalog), "sessions": sizes},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    }


def run_name(manifest: Mapping[str, object]) -> str:
    """A name for what a run is made of, the same wherever its folder lies: 12 hex digits."""
    told = json.dumps(manifest["identity"], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]
