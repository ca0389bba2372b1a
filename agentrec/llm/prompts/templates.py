"""Prompts: text files with named placeholders, checked when they are loaded.

A UTF-8 file has a system part and a user part with a line of three hyphens between them; a file
without such a line has a user part alone. Placeholders are written ``$name``. A value that looks
like a placeholder is not replaced again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal, get_args

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agentrec.errors import InputError

PromptName = Literal[
    "recommend",
    "repair",
    "critique",
    "diagnose",
    "hints",
    "same",
    "factors",
    "preference",
    "question",
]

_PLACEHOLDERS: Mapping[PromptName, frozenset[str]] = {
    "recommend": frozenset({"history", "candidates", "hint", "count"}),
    "repair": frozenset({"valid", "illegal", "count"}),
    "critique": frozenset({"history", "predictions"}),
    "diagnose": frozenset({"history", "predictions", "target", "critique"}),
    "hints": frozenset({"history", "predictions", "target", "diagnosis", "count"}),
    "same": frozenset({"first", "second"}),
    "factors": frozenset({"items", "count"}),
    "preference": frozenset({"history", "factors"}),
    "question": frozenset({"history", "candidates"}),
}

_EXPLANATION = "README.md"

_PART_END = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Prompts:
    """A complete, valid set of prompts.

    Attributes:
        texts: The raw text of each prompt file, by name.
    """

    texts: Mapping[PromptName, str]

    @classmethod
    def load(cls, folder: Path | None = None) -> Prompts:
        """Load the prompts that come with the package, or a user's own.

        Args:
            folder: A folder with some of the files ``recommend.md``, ``repair.md``,
                ``critique.md``, ``diagnose.md``, ``hints.md``, ``same.md``, ``factors.md``,
                ``preference.md`` and ``question.md``; missing ones are taken from the
                package. Of its other files only a ``README.md`` may end in ``.md``.

        Raises:
            InputError: If the folder is missing, has a file of another name, or a file is not
                UTF-8 text, has no user part, or lacks a placeholder or has an unknown one.
        """
        if folder is not None:
            _check_names(folder)
        texts: dict[PromptName, str] = {}
        for name in get_args(PromptName):
            own = None if folder is None else folder / f"{name}.md"
            if own is not None and own.is_file():
                texts[name] = _checked(name, _read(own), own)
            else:
                packaged = resources.files("agentrec.llm.prompts") / f"{name}.md"
                texts[name] = packaged.read_text(encoding="utf-8")
        return cls(texts)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of all prompts, for manifests and provenance."""
        joined = "\x00".join(f"{name}\x00{self.texts[name]}" for name in sorted(self.texts))
        return hashlib.sha256(joined.encode()).hexdigest()

    def render(self, name: PromptName, values: Mapping[str, str | int]) -> list[BaseMessage]:
        """Fill one prompt.

        Args:
            name: Which prompt.
            values: A value for each of its placeholders, already escaped as data.

        Returns:
            A system message (if the prompt has that part) and a user message.
        """
        templates = _templates(self.texts[name])
        system, user = (template.substitute(values).strip() for template in templates)
        messages: list[BaseMessage] = [SystemMessage(system)] if system else []
        return [*messages, HumanMessage(user)]


def _check_names(folder: Path) -> None:
    """Refuse files that would otherwise be ignored silently, such as ``recomend.md``."""
    if not folder.is_dir():
        raise InputError("no such folder of prompts", file=folder)
    known = [f"{name}.md" for name in get_args(PromptName)]
    try:
        names = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=folder) from error
    for name in names:
        if not name.casefold().endswith(".md") or name in known or name == _EXPLANATION:
            continue
        # Editors leave hidden files behind: locks, backups.
        if name.startswith("."):
            continue
        near = difflib.get_close_matches(name.casefold(), known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"is not the name of a prompt; {advice}", file=folder / name)


@lru_cache
def _templates(text: str) -> tuple[Template, ...]:
    return tuple(map(Template, _parts(text)))


def _parts(text: str) -> tuple[str, str]:
    *system, user = _PART_END.split(text, 1)
    return "".join(system), user


def _read(file: Path) -> str:
    try:
        # Some editors write a byte order mark, which no model should see.
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte {error.start}); save it as UTF-8", file=file
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error


def _checked(name: PromptName, text: str, file: Path) -> str:
    for match in Template.pattern.finditer(text):
        if match["invalid"] is not None:
            raise InputError(
                "has a $ that starts no placeholder; write $$ for the sign",
                file=file,
                line=text.count("\n", 0, match.start()) + 1,
            )
    if not _parts(text)[1].strip():
        raise InputError("has no user part: nothing comes after the line ---", file=file)
    found, needed = set(Template(text).get_identifiers()), _PLACEHOLDERS[name]
    for placeholder in sorted(needed - found):
        raise InputError(f"lacks the placeholder ${placeholder}", file=file, field=placeholder)
    for placeholder in sorted(found - needed):
        expected = ", ".join(f"${n}" for n in sorted(needed))
        raise InputError(
            f"has an unknown placeholder ${placeholder}; known are {expected}",
            file=file,
            field=placeholder,
        )
    return text
