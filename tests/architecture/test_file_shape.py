from __future__ import annotations

from pathlib import Path

from architecture.source_imports import PRODUCT, ROOT, python_files

LONGEST = 400
SAYS_NOTHING = {"utils", "helpers", "misc", "common", "manager", "base"}


def misshapen(root: Path) -> list[str]:
    """Files that are too long, and files or folders whose name does not say what they hold."""
    wrong = []
    for file in python_files(root, (*PRODUCT, "tests", "examples")):
        place = file.relative_to(root)
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST:
            wrong.append(f"{place}: {lines} lines")
        wrong += [f"{place}: {part}" for part in place.with_suffix("").parts if _vague(part)]
    return wrong


def _vague(name: str) -> bool:
    return name.strip("_") in SAYS_NOTHING


def test_files_are_short_and_named_for_what_they_hold() -> None:
    assert misshapen(ROOT) == []


def test_planted_files_are_flagged(tmp_path: Path) -> None:
    for folder in ("agentrec/common", "graphs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "agentrec/common/titles.py").write_text("x = 1\n" * LONGEST)
    (tmp_path / "graphs/long.py").write_text("x = 1\n" * (LONGEST + 1))
    (tmp_path / "graphs/_utils.py").touch()
    assert misshapen(tmp_path) == [
        "agentrec/common/titles.py: common",
        "graphs/_utils.py: _utils",
        "graphs/long.py: 401 lines",
    ]
