"""Every defect in the list has a file, and every test in it carries the defect's number."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_listed_defect_has_tests_under_its_number() -> None:
    listed = re.findall(r"^(\d\d)  ", (HERE / "__init__.py").read_text("utf-8"), re.MULTILINE)
    files = {file.name[5:7]: file for file in sorted(HERE.glob("test_[0-9]*.py"))}
    assert listed == list(files) == [f"{number:02d}" for number in range(1, 15)]
    for number, file in files.items():
        text = file.read_text("utf-8")
        assert text.startswith(f'"""{number}: ')
        names = re.findall(r"^(?:async )?def test_(\w+)", text, re.MULTILINE)
        assert names
        assert all(name.startswith(f"{number}_") for name in names), file.name
