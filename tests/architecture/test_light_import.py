from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from architecture.source_imports import imports_in, module_name, product_files

HEAVY = ("torch", "qdrant_client", "transformers", "pyarrow", "matplotlib")


def heavy_loaded_by(module: str, path: Path | None = None) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after importing `module`."""
    code = f"import sys, {module}\nprint(*({set(HEAVY)} & sys.modules.keys()))"
    places = {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | places,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["agentrec", "agentrec.contracts"])
def test_core_loads_no_heavy_library(module: str) -> None:
    assert heavy_loaded_by(module) == set()


class _Deferred(ast.NodeTransformer):
    """Leaves out what functions import once they are called."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return ast.Pass()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return ast.Pass()


def heavy_reached_from(module: str) -> set[str]:
    """The heavy libraries that a module of the product imports at once, directly or not."""
    files = {module_name(file): file for file in product_files()}
    seen, waiting, heavy = set[str](), [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in files or name in seen:
            continue
        seen.add(name)
        file = files[name]
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        source = ast.unparse(_Deferred().visit(ast.parse(file.read_text(encoding="utf-8"))))
        for found in imports_in(source, package):
            if found.typing_only:
                continue
            parts = found.target.split(".")
            heavy |= {parts[0]} & set(HEAVY)
            waiting += [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return heavy


def test_whoever_asks_another_model_does_not_wait_for_the_embedded_ones_libraries() -> None:
    assert "transformers" not in heavy_reached_from("agentrec.app.learning.demo")
    # What is reached at all is seen.
    assert "torch" in heavy_reached_from("agentrec.app.learning.demo")
    assert "transformers" in heavy_reached_from("agentrec.app.learning.embedded_model")


def test_planted_heavy_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "planted.py").write_text("import torch\n")
    assert heavy_loaded_by("planted", tmp_path) == {"torch"}
