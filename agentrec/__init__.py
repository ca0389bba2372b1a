"""An async agent framework that makes any LLM recommend better from its own mistakes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentrec.catalog import Catalog, Item
    from agentrec.components import Components
    from agentrec.data.session_rows import read_sessions
    from agentrec.hints import Hint
    from agentrec.rankings import Ranking
    from agentrec.recommender import Recommender, open_recommender
    from agentrec.sessions import Session

__all__ = [
    "Catalog",
    "Components",
    "Hint",
    "Item",
    "Ranking",
    "Recommender",
    "Session",
    "open_recommender",
    "read_sessions",
]

_MODULES = {
    "Catalog": "catalog",
    "Components": "components",
    "Hint": "hints",
    "Item": "catalog",
    "Ranking": "rankings",
    "Recommender": "recommender",
    "Session": "sessions",
    "open_recommender": "recommender",
    "read_sessions": "data.session_rows",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: `import agentrec` alone loads nothing heavy."""
    if name not in _MODULES:
        raise AttributeError(f"module 'agentrec' has no attribute {name!r}")
    found = getattr(import_module(f"agentrec.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
