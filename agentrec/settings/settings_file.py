"""Settings files in TOML or YAML, read with the line of each setting."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agentrec.errors import InputError

NAMES = ("agentrec.toml", "agentrec.yaml", "agentrec.yml")
"""Files read from the working directory if none is named."""

KeyPath = tuple[str, ...]

_AT_LINE = re.compile(r" ?\(at line (\d+), column \d+\)")
_TOML_TABLE = re.compile(r"^\s*\[[^\[\]=]+\]\s*(#.*)?$")
_TOML_KEY = re.compile(r"""^\s*((?:[\w\-.\s]|"[^"]*"|'[^']*')+?)\s*=""")


@dataclass(frozen=True)
class SettingsFile:
    """The content of a settings file.

    Attributes:
        path: The file.
        content: Its settings.
        lines: 1-based line by the path of keys, as far as known.
    """

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def line_of(self, keys: KeyPath) -> int | None:
        """Return the line of a setting, or of the section around it."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return self.lines[keys[:end]]
        return None


def find_settings_file(folder: Path) -> Path | None:
    """Return the settings file of a folder, if it has one.

    Raises:
        InputError: If it has several.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"both {names} exist; choose one with --config")
    return found[0] if found else None


def read_settings_file(path: Path) -> SettingsFile:
    """Read a settings file.

    Raises:
        InputError: If it cannot be read, or is not in its format.
    """
    if path.suffix.lower() not in {".toml", ".yaml", ".yml"}:
        raise InputError("must end in .toml, .yaml or .yml", file=path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte {error.start}); save it as UTF-8", file=path
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    reader = _toml if path.suffix.lower() == ".toml" else _yaml
    try:
        return reader(path, text)
    except RecursionError as error:
        raise InputError("is nested too deeply", file=path) from error


def _toml(path: Path, text: str) -> SettingsFile:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        problem = f"is not TOML: {_AT_LINE.sub('', str(error))}"
        line = len(text.splitlines()) if at is None else int(at[1])
        raise InputError(problem, file=path, line=line) from error
    return SettingsFile(path, content, dict(_toml_lines(text)))


def _toml_lines(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Yield keys that begin a line; inside a value of several lines it may yield too many."""
    section: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if _TOML_TABLE.match(line):
            section = _keys(line)
            yield section, number
            continue
        found = _TOML_KEY.match(line)
        if found:
            keys = _keys(f"{found[1]} = 0")
            for end in range(1, len(keys) + 1):
                yield (*section, *keys[:end]), number


def _keys(line: str) -> KeyPath:
    """Return the path of keys that a line of TOML names, however they are quoted."""
    try:
        inner: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(inner, dict) and inner:
        ((key, inner),) = inner.items()
        path.append(key)
    return tuple(path)


def _yaml(path: Path, text: str) -> SettingsFile:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = {} if root is None else dict(_yaml_lines(path, root, ()))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise InputError(f"is not YAML: {error.problem}", file=path, line=line) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"is not YAML: {error}", file=path) from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError("must be a mapping, such as `seed: 1`", file=path, line=1)
    return SettingsFile(path, content, lines)


def _yaml_lines(path: Path, node: Any, above: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            # YAML readers silently let the last one win.
            raise InputError("is set twice", file=path, line=line, field=".".join((*above, name)))
        seen.add(name)
        yield (*above, name), line
        yield from _yaml_lines(path, value, (*above, name))
