"""Parts that installed packages register under a name, by entry point.

A package lists its parts in its ``pyproject.toml``; settings and ``open_recommender`` then know
them by name::

    [project.entry-points."agentrec.embeddings"]
    acme = "acme_agentrec:open_embeddings"

What the object of an entry point is, by group:

``agentrec.hint_policies``: a ``PolicyKind``.
``agentrec.embeddings``: called with the text behind the colon of ``NAME:TEXT``, or ``""``; returns
    LangChain ``Embeddings``.
``agentrec.hint_stores``: called with the text behind the colon of ``NAME:TEXT``, the length of
    vectors, and the name of the embeddings; returns an async context manager of a ``HintStore``.
``agentrec.candidate_generators``: called with the ``Catalog``; returns a ``CandidateGenerator``.
``agentrec.reward_models``: called with the ``Components``; returns a ``RewardModel``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from agentrec.errors import InputError

HINT_POLICIES = "agentrec.hint_policies"
EMBEDDINGS = "agentrec.embeddings"
HINT_STORES = "agentrec.hint_stores"
CANDIDATE_GENERATORS = "agentrec.candidate_generators"
REWARD_MODELS = "agentrec.reward_models"


def plugin_names(group: str) -> list[str]:
    """Return the names that installed packages register in a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str, built_in: Iterable[str] = ()) -> Any:
    """Load what an installed package registers under a name.

    Args:
        group: Group of entry points, such as ``agentrec.hint_policies``.
        name: Name of the entry point.
        built_in: Names that need no package; only listed in the error.

    Raises:
        InputError: No package registers the name, or its object cannot be imported.
    """
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted({*built_in, *found})) or "none"
        parts = group.rpartition(".")[2].replace("_", " ")
        raise InputError(f"{name!r} is not one of the {parts} known here: {known}")
    try:
        return found[name].load()
    except Exception as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"{name!r} ({found[name].value}) cannot be imported: {line}") from error
