"""Which namespaces there can be, and which collection of a Qdrant holds each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT_COLLECTION = "hints"

_NAMESPACE = re.compile(r"[\w.-]{0,64}")

# No namespace has this character: what comes after it tells versions of one collection apart.
_GENERATION = "~"
_CURRENT = "current"


def check_namespace(namespace: str) -> None:
    """Refuse what no hint can have as its namespace.

    Raises:
        ValueError: If it is longer than 64 characters or holds other characters than letters,
            digits, ``_``, ``.`` and ``-``.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            f"a namespace is at most 64 letters, digits, '_', '.' and '-', not {namespace[:80]!r}"
        )


def collection_name(collection: str, namespace: str) -> str:
    """The collection that holds the hints of a namespace.

    Raises:
        ValueError: If ``namespace`` cannot be one.
    """
    check_namespace(namespace)
    return f"{collection}-{namespace}" if namespace else collection


def namespaces_among(names: Iterable[str]) -> list[str]:
    """The namespaces whose hints are in collections of these names, in order."""
    found = set()
    for name in names:
        logical = name.partition(_GENERATION)[0]
        if logical == DEFAULT_COLLECTION:
            found.add("")
        elif logical.startswith(f"{DEFAULT_COLLECTION}-"):
            found.add(logical.removeprefix(f"{DEFAULT_COLLECTION}-"))
    return sorted(found)


def current_alias(name: str) -> str:
    """The alias of the generation in use, where a collection was ever embedded anew."""
    return f"{name}{_GENERATION}{_CURRENT}"


def next_generation(name: str, current: str) -> str:
    """What a collection is called after it was embedded anew once more.

    Args:
        name: The collection's name.
        current: The name of its generation in use.
    """
    number = current.removeprefix(name).removeprefix(_GENERATION)
    return f"{name}{_GENERATION}{int(number or 1) + 1}"


def is_generation(name: str, of: str) -> bool:
    """Whether a collection is a generation of the one that is called ``of``."""
    return name.partition(_GENERATION)[0] == of
