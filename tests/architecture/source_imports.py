"""Reads which modules Python source imports, without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("graphs", "policies", "stores")
PRODUCT = ("agentrec", *LINKED)


@dataclass(frozen=True)
class Import:
    """One imported name, `from a import b` read as `a.b`."""

    target: str
    line: int
    typing_only: bool = False


def product_files(root: Path = ROOT) -> list[Path]:
    """Every source file of the product once; the links inside `agentrec` are not followed."""
    return python_files(root, PRODUCT)


def python_files(root: Path, folders: tuple[str, ...]) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents if parent != root)
    ]


def module_name(file: Path, root: Path = ROOT) -> str:
    """The name a file is imported by: `stores/qdrant.py` is `agentrec.stores.qdrant`."""
    parts = file.relative_to(root).with_suffix("").parts
    parts = ("agentrec", *parts) if parts[0] in LINKED else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, root: Path = ROOT) -> list[Import]:
    package = module_name(file, root)
    if file.name != "__init__.py":
        package = package.rpartition(".")[0]
    return imports_in(file.read_text(encoding="utf-8"), package)


def imports_in(source: str, package: str = "") -> list[Import]:
    """All imports in source text, those inside functions included.

    Args:
        source: Python source.
        package: The package relative imports start from.
    """
    reader = _Reader(package)
    reader.visit(ast.parse(source))
    return reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.found: list[Import] = []
        self._package = package
        self._typing_only = False

    def visit_If(self, node: ast.If) -> None:
        outside = self._typing_only
        self._typing_only = outside or _is_type_checking(node.test)
        for child in node.body:
            self.visit(child)
        self._typing_only = outside
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = node.module or ""
        if node.level:
            parents = self._package.split(".")
            kept = parents[: len(parents) - node.level + 1]
            origin = ".".join([*kept, origin] if origin else kept)
        for alias in node.names:
            self._add(f"{origin}.{alias.name}", node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        named = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else named
        first = node.args[0] if node.args else None
        if (
            called in ("import_module", "__import__")
            and isinstance(first, ast.Constant)
            and isinstance(first.value, str)
        ):
            self._add(first.value, node.lineno)
        self.generic_visit(node)

    def _add(self, target: str, line: int) -> None:
        self.found.append(Import(target, line, self._typing_only))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"
