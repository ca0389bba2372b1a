"""What the product imports, its distribution asks for."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from architecture.source_imports import ROOT, imports_of, module_name, product_files
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def declared(root: Path, *extras: str) -> set[str]:
    """Distributions asked for in `pyproject.toml`, together with those of some extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in asked}


def undeclared(root: Path, *extras: str) -> set[str]:
    """`module: package` for each third-party import that no declared distribution provides.

    The suites in `agentrec.testing` may use pytest: who runs them has it.
    """
    providers = packages_distributions()
    asked = declared(root, *extras)
    missing = set()
    for file in product_files(root):
        module = module_name(file, root)
        own = {"agentrec"} | ({"pytest"} if module.startswith("agentrec.testing.") else set())
        for name in {imported.target.split(".")[0] for imported in imports_of(file, root)}:
            given_by = {canonicalize_name(given) for given in providers.get(name, [name])}
            if name not in sys.stdlib_module_names | own and not given_by & asked:
                missing.add(f"{module}: {name}")
    return missing


def test_every_import_is_declared() -> None:
    assert undeclared(ROOT, "openai", "dpo", "ray") == set()


def test_planted_undeclared_import_is_flagged(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["PyYAML>=6", "numpy"]\n')
    (tmp_path / "agentrec").mkdir()
    (tmp_path / "agentrec" / "x.py").write_text(
        "import json\nimport yaml\nimport numpy.typing\nimport rich.table\nimport pytest\n"
    )
    assert undeclared(tmp_path) == {"agentrec.x: rich", "agentrec.x: pytest"}


def test_every_declared_distribution_has_a_pinned_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    names = [pin.partition("==")[0] for pin in pins]
    assert names == sorted(set(names))
    assert declared(ROOT, "openai", "dev") <= set(names)
