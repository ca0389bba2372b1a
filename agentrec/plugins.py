"""Parts that installed packages register under a name, by entry point."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from agentrec.errors import InputError


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
    except (ImportError, AttributeError) as error:
        raise InputError(f"{name!r} ({found[name].value}) cannot be imported: {error}") from error
