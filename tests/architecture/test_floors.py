from __future__ import annotations

import sys
from pathlib import Path

import pytest
from architecture.floors import FLOOR, MODULE_FLOOR, TESTING_MAY_USE, breach, breaches, package_of
from architecture.source_imports import (
    LINKED,
    ROOT,
    imports_in,
    imports_of,
    module_name,
    product_files,
)


def test_imports_only_go_down() -> None:
    assert breaches() == []


def test_every_package_has_a_floor() -> None:
    folders = {path.parent.name for path in (ROOT / "agentrec").glob("*/__init__.py")}
    assert folders == set(FLOOR)


def test_the_whole_tree_is_read_and_nothing_twice() -> None:
    modules = [module_name(file) for file in product_files()]
    assert len(modules) == len(set(modules))
    assert {package_of(module) for module in modules} == {*FLOOR, *MODULE_FLOOR, "core"}


@pytest.mark.parametrize("folder", LINKED)
def test_top_level_folder_is_reached_through_its_link(folder: str) -> None:
    link = ROOT / "agentrec" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


def test_conformance_suites_need_no_heavy_library() -> None:
    used = {
        imported.target.split(".")[0]
        for file in (ROOT / "agentrec" / "testing").rglob("*.py")
        for imported in imports_of(file)
    }
    assert used - sys.stdlib_module_names - {"agentrec"} <= TESTING_MAY_USE


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("agentrec.hints", "import agentrec.data", "core imports upward from data"),
        ("agentrec.hints", "from agentrec import llm", "core imports upward from llm"),
        ("agentrec.contracts.sink", "from agentrec.streaming import x", "contracts imports upward"),
        ("agentrec.data.x", "from agentrec.stores.qdrant import y", "data imports upward"),
        ("agentrec.llm.x", "def f():\n    import agentrec.graphs", "llm imports upward"),
        (
            "agentrec.streaming.x",
            "import_module('agentrec.app.cli.main')",
            "streaming imports upward",
        ),
        (
            "agentrec.graphs.x",
            "from agentrec.settings.run_settings import y",
            "graphs imports upward",
        ),
        ("agentrec.graphs.x", "from agentrec.stores import y", "siblings graphs and stores"),
        ("agentrec.stores.x", "from agentrec.policies import y", "siblings stores and policies"),
        ("agentrec.policies.x", "from ..graphs import y", "siblings policies and graphs"),
        ("agentrec.testing.x", "from agentrec.llm import y", "testing may import the core only"),
        ("agentrec.app.cli.main", "from stores.qdrant import y", "bare name stores"),
        ("agentrec.app.cli.main", "import graphs as g", "bare name graphs"),
        (
            "agentrec.hints",
            "if TYPE_CHECKING:\n    from agentrec.llm import y",
            "core imports upward from llm",
        ),
        (
            "agentrec.components",
            "if TYPE_CHECKING:\n    pass\nelse:\n    from agentrec.llm import y",
            "core imports upward from llm",
        ),
    ],
)
def test_planted_breach_is_flagged(module: str, source: str, complaint: str) -> None:
    [imported] = imports_in(source, package=module.rpartition(".")[0])
    assert complaint in str(breach(module, imported))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agentrec.app.cli.main", "from agentrec.graphs import y"),
        ("agentrec.graphs.x", "from agentrec.llm.prompts.templates import y"),
        ("agentrec.llm.x", "from agentrec.data import y"),
        ("agentrec.stores.x", "from . import y"),
        ("agentrec.stores.x", "from agentrec import HintStore"),
        ("agentrec.catalog", "from agentrec.errors import InputError"),
        ("agentrec.components", "if TYPE_CHECKING:\n    from agentrec.llm import y"),
    ],
)
def test_allowed_import_passes(module: str, source: str) -> None:
    [imported] = imports_in(source, package=module.rpartition(".")[0])
    assert breach(module, imported) is None


def test_breach_in_a_tree_is_named_by_file_and_line(tmp_path: Path) -> None:
    for folder in ("agentrec", "stores"):
        (tmp_path / folder).mkdir()
    (tmp_path / "agentrec" / "stores").symlink_to("../stores")
    (tmp_path / "stores" / "qdrant.py").write_text("import json\nimport agentrec.graphs.state\n")
    assert breaches(tmp_path) == [
        "stores/qdrant.py:2: the siblings stores and graphs never import one another"
    ]
