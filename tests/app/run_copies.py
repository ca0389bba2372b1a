"""Commands about the policies of a copy of a finished run."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app


@dataclass(frozen=True)
class RunCopy:
    """A copy of a run, for a test to do with as it likes."""

    folder: Path

    @classmethod
    def of(cls, run: Path, folder: Path) -> RunCopy:
        return cls(Path(shutil.copytree(run, folder)))

    def policy(self, *arguments: object) -> Result:
        """``agentrec policy``, about this run."""
        given = [*map(str, arguments), f"--run={self.folder}"]
        return CliRunner().invoke(app, ["policy", *given])

    def done(self, *arguments: object) -> str:
        """What it says if all went well."""
        result = self.policy(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    def told(self, *arguments: object) -> Any:
        """The one JSON document that it prints."""
        result = self.policy(*arguments, "--json")
        assert result.exit_code == 0, result.output
        assert result.stdout.isascii()
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)

    @property
    def calls(self) -> int:
        """How many answers were paid for in the life of the run."""
        connection = sqlite3.connect(self.folder / "calls.sqlite")
        try:
            [(count,)] = connection.execute("SELECT count(*) FROM answers")
            return int(count)
        finally:
            connection.close()

    def json(self, *names: str) -> Any:
        """A file of the run."""
        return json.loads(self.folder.joinpath(*names).read_text())

    def files(self, *names: str) -> set[str]:
        """What is in one of its folders, weights without the hash in their name."""
        return {file.name.partition("-")[0] for file in self.folder.joinpath(*names).iterdir()}

    def kept(self) -> dict[str, bytes]:
        """All that a command without effect leaves as it was."""
        changing = {"calls.sqlite", "usage.json", ".lock"}
        return {
            str(file.relative_to(self.folder)): file.read_bytes()
            for file in self.folder.rglob("*")
            if file.is_file() and not any(file.name.startswith(name) for name in changing)
        }
