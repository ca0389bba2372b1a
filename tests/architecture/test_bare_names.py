"""The folders at the top are reached as `agentrec.graphs` and so on, in code and in prose."""

from __future__ import annotations

import re
from pathlib import Path

from architecture.source_imports import LINKED, PRODUCT, ROOT, imports_in, python_files

_FENCE = re.compile(r"^ *```py\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_BARE = re.compile(rf"^[ >.]*(?:from|import) +({'|'.join(LINKED)})\b", re.MULTILINE)


def in_code(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)}:{imported.line}: {imported.target}"
        for file in python_files(root, (*PRODUCT, "tests", "examples"))
        for imported in imports_in(file.read_text(encoding="utf-8"))
        if imported.target.split(".")[0] in LINKED
    ]


def in_fences(root: Path) -> list[str]:
    return [
        f"{page.relative_to(root)}: {bare}"
        for page in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])
        for fence in _FENCE.findall(page.read_text(encoding="utf-8"))
        for bare in _BARE.findall(fence)
    ]


def test_code_uses_no_bare_name() -> None:
    assert in_code(ROOT) == []


def test_documentation_uses_no_bare_name() -> None:
    assert in_fences(ROOT) == []


def test_planted_bare_name_is_flagged(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    (tmp_path / "tests" / "test_x.py").write_text(
        "from agentrec.stores import a\n\ndef f():\n    from stores.qdrant import b\n"
    )
    (tmp_path / "docs" / "guides" / "a.md").write_text(
        "import stores\n\n```python\nfrom agentrec.graphs import a\n>>> import policies\n```\n"
    )
    assert in_code(tmp_path) == ["tests/test_x.py:4: stores.qdrant.b"]
    assert in_fences(tmp_path) == ["docs/guides/a.md: policies"]
