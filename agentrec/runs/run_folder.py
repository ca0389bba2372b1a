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


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Tell in one line of a file or folder that cannot be written.

    Args:
        place: What is written inside.

    Raises:
        InputError: If the system refused.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", file=place) from error


Json = Mapping[str, object]


class RunFolder:
    """Files of one run.

    Args:
        path: The folder; made when the manifest is written.
        option: How a person names another folder.
    """

    def __init__(self, path: Path, option: str = "--run") -> None:
        self.path = path
        self._option = option

    @property
    def manifest(self) -> Path:
        """Versions, seeds, hashes and settings."""
        return self.path / "manifest.json"

    @property
    def calls(self) -> Path:
        """The call journal."""
        return self.path / "calls.sqlite"

    @property
    def knowledge_base(self) -> Path:
        """The hint store's folder."""
        return self.path / "knowledge-base"

    @property
    def hints(self) -> Path:
        """The stored hints with provenance, a line each, for people to read."""
        return self.path / "hints.jsonl"

    @property
    def exploration(self) -> Path:
        """How many sessions were explored, and what became of the proposals."""
        return self.path / "exploration.json"

    def rewards(self, split: str) -> Path:
        """The reward table of a split."""
        return self.path / f"rewards.{split}.parquet"

    @property
    def policies(self) -> Path:
        """The trained policies, a folder each."""
        return self.path / "policies"

    def policy(self, name: str) -> Path:
        """A trained policy's folder."""
        return self.policies / name

    @property
    def live(self) -> Path:
        """The policy that is to be used."""
        return self.path / "live"

    @property
    def gate(self) -> Path:
        """Which policy went live, and why."""
        return self.path / "gate.json"

    @property
    def backbone(self) -> Path:
        """The sequential recommender that is a baseline."""
        return self.path / "backbone"

    @property
    def reward_model(self) -> Path:
        """What rewards preference texts."""
        return self.path / "reward-model"

    @property
    def preferences(self) -> Path:
        """Preference pairs and what is told of them."""
        return self.path / "preferences"

    def preferences_of(self, writer: str) -> Path:
        """The same of texts that another model than the run's wrote.

        Args:
            writer: The name under which the model's answers are kept.
        """
        digest = hashlib.sha256(writer.encode()).hexdigest()[:8]
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", writer)[:60].strip(".-")
        return self.preferences / f"{readable}-{digest}"

    @property
    def metrics(self) -> Path:
        """The report."""
        return self.path / "metrics.json"

    @property
    def answers(self) -> Path:
        """What the model's answers on test sessions were worth."""
        return self.path / "answers.json"

    @property
    def usage(self) -> Path:
        """What the calls of all attempts came to."""
        return self.path / "usage.json"

    def read_manifest(self) -> dict[str, Any]:
        """What the run is made of.

        Raises:
            InputError: If there is no run here, or its manifest is broken.
        """
        try:
            manifest = json.loads(self.manifest.read_text(encoding="utf-8"))
            if not isinstance(manifest, dict) or not isinstance(manifest.get("identity"), dict):
                raise TypeError("it has no identity")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                "there is no run here; name another folder with --run; `agentrec demo` makes one",
                file=self.path,
            ) from error
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=self.manifest) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"is not a manifest ({error})", file=self.manifest) from error
        return dict(manifest)

    def begin(self, manifest: Json) -> None:
        """Start or go on with a run.

        Args:
            manifest: What the run is made of, JSON values only. Its ``identity`` must be that
                of the run that is in the folder already, if there is one.

        Raises:
            InputError: If the folder holds another run or something that is no run.
        """
        if self.manifest.is_file():
            known = self.read_manifest()["identity"]
            wanted = json.loads(json.dumps(manifest["identity"]))
            # What a person set comes first: a hash says little.
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
                    f"is there already and is no run folder; name another with {self._option}",
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
