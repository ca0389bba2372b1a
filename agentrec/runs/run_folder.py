"""The run folder: what a run is made of and what came out of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentrec.atomic_files import holds_nothing, write_atomically
from agentrec.errors import InputError

Json = Mapping[str, object]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report in one line that a file or folder cannot be written.

    Args:
        path: Where the block writes.

    Raises:
        InputError: If the system refused.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", file=path) from error


class _Entry:
    """A file or folder of a run, as an attribute of its ``RunFolder``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder, owner: type[RunFolder]) -> Path:
        return folder.path / self._name


class RunFolder:
    """The files and folders of one run.

    Args:
        path: The folder; made when the manifest is written.
        option: The option of the command line that names another folder.

    Attributes:
        manifest: Versions, seeds, hashes and settings.
        calls: The call journal.
        usage: What the calls of all attempts came to.
        knowledge_base: The hint store's folder.
        hints: The stored hints with provenance, a line each, for people to read.
        exploration: How many sessions were explored, and what became of the proposals.
        policies: The trained policies, a folder each.
        live: The policy in use.
        gate: Which policy went live, and why.
        backbone: The sequential recommender that is a baseline.
        reward_model: The model that scores preference texts.
        preferences: Preference pairs and reports on them.
        metrics: The report.
        answers: The quality of the model's answers on test sessions.
    """

    manifest = _Entry("manifest.json")
    calls = _Entry("calls.sqlite")
    usage = _Entry("usage.json")
    knowledge_base = _Entry("knowledge-base")
    hints = _Entry("hints.jsonl")
    exploration = _Entry("exploration.json")
    policies = _Entry("policies")
    live = _Entry("live")
    gate = _Entry("gate.json")
    backbone = _Entry("backbone")
    reward_model = _Entry("reward-model")
    preferences = _Entry("preferences")
    metrics = _Entry("metrics.json")
    answers = _Entry("answers.json")

    def __init__(self, path: Path, option: str = "--run") -> None:
        self.path = path
        self._option = option

    def rewards(self, split: str) -> Path:
        """Return the reward table of a split."""
        return self.path / f"rewards.{split}.parquet"

    def policy(self, name: str) -> Path:
        """Return a trained policy's folder."""
        return self.policies / name

    def preferences_of(self, writer: str) -> Path:
        """Return the folder of pairs whose texts another model than the run's wrote.

        Args:
            writer: The name under which the model's answers are kept.
        """
        digest = hashlib.sha256(writer.encode()).hexdigest()[:8]
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", writer)[:60].strip(".-")
        return self.preferences / f"{readable}-{digest}"

    def read_manifest(self) -> dict[str, Any]:
        """Read what the run is made of.

        Raises:
            InputError: If there is no run here, or its manifest is broken.
        """
        try:
            manifest = json.loads(self.manifest.read_text(encoding="utf-8"))
            if not isinstance(manifest, dict) or not isinstance(manifest.get("identity"), dict):
                raise TypeError("it has no identity")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                "there is no run here; name another folder with --run, or run `agentrec demo`",
                file=self.path,
            ) from error
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=self.manifest) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"is not a manifest ({error})", file=self.manifest) from error
        return dict(manifest)

    def begin(self, manifest: Json) -> None:
        """Start a run, or check that the one in the folder is this one.

        Args:
            manifest: What the run is made of, JSON values only. Its ``identity`` must be that
                of the run that is in the folder already, if there is one.

        Raises:
            InputError: If the folder holds another run or something that is no run.
        """
        if self.manifest.is_file():
            known = self.read_manifest()["identity"]
            wanted = json.loads(json.dumps(manifest["identity"]))
            # Settings come first, hashes last: these say little.
            for field in sorted({*known, *wanted}, key=lambda name: (name.endswith("hash"), name)):
                if known.get(field) != wanted.get(field):
                    raise InputError(
                        f"holds a run with {field} {known.get(field)!r}, not"
                        f" {wanted.get(field)!r}; name another folder with {self._option}",
                        file=self.path,
                        field=field,
                    )
            return
        try:
            if self.path.exists() and not (self.path.is_dir() and holds_nothing(self.path)):
                raise InputError(
                    f"exists and is not a run folder; name another with {self._option}",
                    file=self.path,
                )
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.manifest, manifest)
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror}); name another with {self._option}",
                file=self.path,
            ) from error


def write_json(file: Path, content: Json) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(file, text.encode())
