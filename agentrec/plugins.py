"""Parts that installed packages bring, named by entry points.

A package lists its parts in its ``pyproject.toml``; from then on settings and ``open_recommender``
know them by name::

    [project.entry-points."agentrec.embeddings"]
    acme = "acme_agentrec:AcmeEmbeddings"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Literal

from agentrec.errors import InputError

PluginGroup = Literal[
    "hint_stores", "hint_policies", "reward_models", "candidate_generators", "embeddings"
]
"""What an entry point's object is, by group ``agentrec.GROUP``.

``hint_stores``: called with ``(location, dimension, embedding_model)``; returns an async context
    manager that gives a ``HintStore``. Named as ``NAME`` or ``NAME:LOCATION``.
``hint_policies``: a ``PolicyKind``.
``reward_models``: called with the run's ``Components``; returns a ``RewardModel``.
``candidate_generators``: called with the ``Catalog``; returns a ``CandidateGenerator``.
``embeddings``: called with the text behind the colon, ``""`` if there is none; returns LangChain
    ``Embeddings``. Named as ``NAME`` or ``NAME:TEXT``.
"""


def plugin_names(group: PluginGroup) -> list[str]:
    """Return the names that installed packages bring to a group, sorted."""
    return sorted(entry_points(group=f"agentrec.{group}").names)


def load_plugin(group: PluginGroup, name: str) -> Any:
    """Import the part that an installed package brings under a name.

    Raises:
        InputError: If there is none, or importing it fails.
    """
    points = entry_points(group=f"agentrec.{group}", name=name)
    if not points:
        known = ", ".join(plugin_names(group)) or "none"
        raise InputError(
            f"no installed package brings {name!r} to agentrec.{group}; installed: {known}"
        )
    point = next(iter(points))
    try:
        return point.load()
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"the entry point {point.value!r} of {name!r} fails: {line}") from error
