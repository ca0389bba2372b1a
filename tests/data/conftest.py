from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.data import Dataset
from agentrec.data.fetching import WheelFiles
from agentrec.sessions import Session

WriteFolder = Callable[..., Path]
MakeDataset = Callable[..., Dataset]
MakeWheel = Callable[[Mapping[str, str]], WheelFiles]

ITEMS = [
    {"item_id": "a", "title": "Alien", "year": 1979, "genres": ["Horror", "Sci-Fi"]},
    {"item_id": "b", "title": "Brazil", "score": 7.5},
    {"item_id": "c", "title": "Casablanca", "country": "US"},
    {"item_id": "d", "title": "Dune"},
]
SESSION = {"items": ["a", "b"], "target": "c", "candidates": ["c", "d"]}


def session_lines(prefix: str, count: int) -> list[object]:
    return [{"session_id": f"{prefix}-{number}", **SESSION} for number in range(count)]


@pytest.fixture
def make_folder(tmp_path: Path) -> WriteFolder:
    """Write a folder in the neutral format.

    A file's lines are objects to be dumped, or texts and bytes to be written as they are; a file
    of ``None`` is left out.
    """

    def make(**files: Sequence[object] | None) -> Path:
        folder = tmp_path / "shop"
        folder.mkdir()
        lines: dict[str, Sequence[object] | None] = {
            "items": ITEMS,
            "train": session_lines("train", 8),
            "valid": session_lines("valid", 2),
            "test": session_lines("test", 2),
            **files,
        }
        for name, content in lines.items():
            if content is None:
                continue
            file_name = "items.jsonl" if name == "items" else f"sessions.{name}.jsonl"
            raw = [
                line
                if isinstance(line, bytes)
                else (line if isinstance(line, str) else json.dumps(line)).encode()
                for line in content
            ]
            (folder / file_name).write_bytes(b"".join(line + b"\n" for line in raw))
        return folder

    return make


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Make a data set of ``num_items`` items and sessions that lack candidates."""

    def make(num_items: int = 200, num_train: int = 20) -> Dataset:
        catalog = Catalog(Item(item_id=str(i), title=f"Item {i}") for i in range(num_items))

        def session(number: int) -> Session:
            ids = [str((number * 7 + step) % num_items) for step in range(4)]
            return Session(session_id=f"s{number}", items=tuple(ids[:3]), target=ids[3])

        sessions = [session(number) for number in range(num_train + 4)]
        return Dataset(
            name="made",
            catalog=catalog,
            train=tuple(sessions[:-4]),
            valid=tuple(sessions[-4:-2]),
            test=tuple(sessions[-2:]),
        )

    return make


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWheel:
    """Put a wheel where pip finds it, and pip and the cache where nothing else is."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path / "cache"))

    def make(files: Mapping[str, str]) -> WheelFiles:
        info = "tiny_data-1.0.dist-info"
        content = {
            **files,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }
        wheel = links / "tiny_data-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        return WheelFiles(
            name="tiny-data",
            version="1.0",
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
            files={n: hashlib.sha256(t.encode()).hexdigest() for n, t in files.items()},
        )

    return make
