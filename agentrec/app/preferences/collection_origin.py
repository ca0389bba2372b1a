"""What pairs were collected with, kept beside them, lest two collections end in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agentrec.atomic_files import write_atomically
from agentrec.errors import InputError
from agentrec.runs.run_folder import writing
from agentrec.settings.prefer_settings import PreferSettings

ORIGIN_FILE = "origin.json"


class CollectionOrigin(BaseModel):
    """What the pairs of a folder are collected with.

    Attributes:
        prefer: The settings.
        seed: Of the draws.
        writer: The name under which the answers of the model that writes are kept.
        reward_model: Hash of the parameters of what rewards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefer: PreferSettings
    seed: int
    writer: str
    reward_model: str

    def claim(self, folder: Path, pairs: Path) -> None:
        """Put this beside pairs that are to come; blocks.

        Args:
            folder: Where it goes.
            pairs: The file of pairs, which may hold some already.

        Raises:
            InputError: If those in the file were collected with something else, or the folder
                cannot be written.
        """
        record = folder / ORIGIN_FILE
        there = pairs.is_file() and pairs.stat().st_size > 0
        # Pairs whose origin nobody knows may be of this one: they say themselves what made them.
        known = self._read(record) if there else None
        if known == self:
            return
        if known is not None:
            raise InputError(
                f"its pairs were collected with other {', '.join(self._differences(known))}: take"
                " the same again, name another run folder, or delete the file",
                file=pairs,
            )
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(record, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def _read(cls, record: Path) -> Self | None:
        try:
            return cls.model_validate_json(record.read_bytes()) if record.is_file() else None
        except ValidationError as error:
            raise InputError("is not the origin of a collection", file=record) from error

    def _differences(self, other: CollectionOrigin) -> list[str]:
        mine, its = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        found = sorted(name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name))
        # Another hash follows from other settings; only by itself is it worth telling.
        return [name for name in found if name != "reward_model"] or ["reward model"]


def _flat(told: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat = {}
    for name, value in told.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value, sort_keys=True)
    return flat
