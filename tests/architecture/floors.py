"""The rule of the house: which package may import which."""

from __future__ import annotations

from pathlib import Path

from architecture.source_imports import (
    LINKED,
    ROOT,
    Import,
    imports_of,
    module_name,
    product_files,
)

FLOOR = {
    "contracts": 0,
    "data": 1,
    "llm": 1,
    "session_encoding": 1,
    "embedded_model": 1,
    "evaluation": 1,
    "streaming": 1,
    "testing": 1,
    "stores": 2,
    "policies": 2,
    "graphs": 2,
    "settings": 3,
    "batch": 3,
    "runs": 5,
    "app": 7,
}
# Modules beside the packages that are no part of the core.
MODULE_FLOOR = {"named_components": 4, "assembly": 4, "recommender": 6}
CORE = "core"
# Names the types of the parts it holds, and puts the gateway around a plain chat model when it is
# made; `import agentrec` loads none of that.
MAY_LOOK_UP_FOR_TYPES = {"agentrec", "agentrec.components"}
MAY_LOAD_LATE = "agentrec.llm.gateway.gateway"
# What anyone who runs the suites has; nothing heavier may be needed to run them.
TESTING_MAY_USE = {"langchain", "langchain_core", "numpy", "pydantic", "pytest"}


def package_of(module: str) -> str:
    """The package under `agentrec` a module belongs to; the core's modules are `core`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in {**FLOOR, **MODULE_FLOOR} else CORE


def breach(module: str, imported: Import) -> str | None:
    """What is wrong with one import in one module of ours; None when nothing is."""
    top = imported.target.split(".")[0]
    if top in LINKED:
        return f"imports the bare name {top}; write agentrec.{top}"
    own = package_of(module)
    if top != "agentrec":
        return None
    other = package_of(imported.target)
    if other == own:
        return None
    if own == "testing" and FLOOR.get(other, 0) > 0:
        return f"testing may import the core only, not {other}"
    if own in LINKED and other in LINKED:
        return f"the siblings {own} and {other} never import one another"
    floor = {**FLOOR, **MODULE_FLOOR}
    if floor.get(other, 0) > floor.get(own, 0):
        if module in MAY_LOOK_UP_FOR_TYPES and (
            imported.typing_only or imported.target.startswith(MAY_LOAD_LATE)
        ):
            return None
        return f"{own} imports upward from {other}"
    return None


def breaches(root: Path = ROOT) -> list[str]:
    """Every breach in the source tree at `root`, as `file:line: what is wrong`."""
    return [
        f"{file.relative_to(root)}:{imported.line}: {wrong}"
        for file in product_files(root)
        for imported in imports_of(file, root)
        if (wrong := breach(module_name(file, root), imported))
    ]
