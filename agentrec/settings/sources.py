"""Gathering settings. Precedence: command line, environment, file, what a run was made with."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from agentrec.data.fetching import CACHE_VARIABLE
from agentrec.errors import InputError
from agentrec.llm.secrets import secret_paths
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.settings_file import SettingsFile, find_settings_file, read_settings_file
from agentrec.settings.validation_messages import first_error, nested_error, validation_message

PREFIX = "AGENTREC_"
NESTING = "__"

_PATHS = ("data", "run", "prompts")
# Sections that may be given by one of their settings alone.
_ALONE = {"llm": "name", "policy": "kind"}
_DEFAULT_KIND = PolicySettings.model_fields["kind"].default
# Options of the command line that are not named after their setting.
_OPTIONS: Mapping[str, str] = {
    "llm.name": "--llm",
    "limits.max_concurrency": "--concurrency",
    "budget.tokens": "--limit-tokens",
    "budget.money": "--limit-cost",
    "policy.kind": "--policy",
}


class SettingsSources:
    """Where settings come from, each source read once.

    Sources are checked one by one, so that a wrong value is reported where it stands, even if
    another source overrides it. This is why they are merged here, and not by pydantic-settings.

    Args:
        given: Given by the command line or a program, nested like the settings themselves.
        config: A settings file; by default the one in the folder, if there is one.
        folder: Where to look for it; the working directory if not given. Relative paths in a
            file are relative to the file.
        environment: Whether the environment and settings files count; else only ``given`` does.

    Raises:
        InputError: If a file cannot be read, or a variable is unknown.
    """

    def __init__(
        self,
        given: Mapping[str, Any] | None = None,
        config: Path | None = None,
        *,
        folder: Path | None = None,
        environment: bool = True,
    ) -> None:
        self.file = config
        self._layers: list[tuple[Mapping[str, Any], _Origin]] = []
        if environment:
            if config is None:
                self.file = find_settings_file(Path() if folder is None else folder)
            if self.file is not None:
                file = read_settings_file(self.file)
                self._layers.append((_with_absolute_paths(file), _Origin("file", file)))
            self._layers.append((_environment(), _Origin("environment")))
        origin = _Origin("command line" if environment else "arguments")
        self._layers.append((given or {}, origin))

    def settings(self, below: Mapping[str, Any] | None = None) -> RunSettings:
        """Merge the sources.

        Args:
            below: Settings that any source may override, such as those of an existing run.

        Raises:
            InputError: If a source has an unknown name, a wrong value, or a secret.
        """
        merged: dict[str, Any] = dict(below or {})
        for layer, origin in self._layers:
            merged = _over(merged, _checked(layer, origin, merged))
        return RunSettings.model_validate(merged)


def load_settings(
    given: Mapping[str, Any] | None = None,
    config: Path | None = None,
    *,
    folder: Path | None = None,
    below: Mapping[str, Any] | None = None,
) -> tuple[RunSettings, Path | None]:
    """Gather settings at once, see ``SettingsSources``; return them with the file, if any."""
    sources = SettingsSources(given, config, folder=folder)
    return sources.settings(below), sources.file


@dataclass(frozen=True)
class _Origin:
    """Where settings come from.

    Attributes:
        source: In words.
        file: The file, if it is one.
    """

    source: Literal["file", "environment", "command line", "arguments"]
    file: SettingsFile | None = None

    def error(self, problem: str, keys: Sequence[str]) -> InputError:
        """Make an error about one setting."""
        field = ".".join(keys)
        if self.file is not None:
            line = self.file.line_of(tuple(keys))
            return InputError(problem, file=self.file.path, line=line, field=field)
        if self.source == "environment":
            variable = PREFIX + NESTING.join(keys).upper()
            return InputError(f"{problem} (environment variable)", field=variable)
        if self.source == "command line":
            problem += f" ({_OPTIONS.get(field, '--' + keys[-1].replace('_', '-'))})"
        return InputError(problem, field=field)

    def validation_error(self, error: ValidationError, layer: Mapping[str, Any]) -> InputError:
        """Make an error about the setting that validation found wrong first."""
        first = first_error(error)
        keys = _keys(first, layer)
        if nested := nested_error(first):
            return self.error(nested.problem, [*keys, *nested.keys])
        return self.error(validation_message(first, keys, RunSettings), keys)


def _keys(error: Mapping[str, Any], layer: Mapping[str, Any]) -> list[str]:
    """Return the setting's path of names, without the branches of unions that pydantic adds."""
    keys: list[str] = []
    inner: Any = layer
    for each in error["loc"]:
        if isinstance(inner, Mapping) and (each in inner or error["type"] == "missing"):
            inner = inner.get(each)
        elif isinstance(inner, list) and isinstance(each, int):
            inner = inner[each]
        else:
            break
        keys.append(str(each))
    return keys


def _checked(
    layer: Mapping[str, Any], origin: _Origin, below: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what a source says, with sections that are given by one setting written out."""
    for keys in secret_paths(layer):
        # Settings files are shared, and settings are written into manifests.
        raise origin.error(
            "looks like a secret, which settings must not hold: set the provider's environment"
            " variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) and delete it here",
            keys,
        )
    whole = dict(layer)
    for section, alone in _ALONE.items():
        if isinstance(layer.get(section), str):
            whole[section] = {alone: layer[section]}
    tried = dict(whole)
    if isinstance(whole.get("policy"), Mapping) and "policy" in below:
        # What its settings may be depends on its kind, which may stand below.
        tried["policy"] = _over({"policy": below["policy"]}, {"policy": whole["policy"]})["policy"]
    try:
        if origin.file is None:
            RunSettings.model_validate(tried)
        else:
            # As JSON and strictly: a file has types of its own, and "5" is no number in it.
            RunSettings.model_validate_json(json.dumps(tried, default=str), strict=True)
    except ValidationError as error:
        raise origin.validation_error(error, tried) from None
    return whole


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings, setting by setting."""
    policy, wanted = below.get("policy", {}), above.get("policy", {})
    kind = policy.get("kind", _DEFAULT_KIND)
    if wanted.get("kind", kind) != kind:
        # One kind does not know the settings of another.
        policy = {name: value for name, value in policy.items() if name != "settings"}
        below = {**below, "policy": policy}
    return _merged(below, above)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _merged(known, value)
        merged[name] = value
    return merged


def _with_absolute_paths(file: SettingsFile) -> Mapping[str, Any]:
    """Return the file's settings, with relative paths seen from where it stands."""
    content = dict(file.content)
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = str(file.path.parent / content[name])
    return content


class _Named(BaseSettings, RunSettings):
    """The settings, as the reader of the environment wants them."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")


class _Environment(EnvSettingsSource):
    """``AGENTREC_SEED=1``, ``AGENTREC_LLM__NAME=openai:gpt-4o-mini``."""

    def __init__(self) -> None:
        super().__init__(
            _Named,
            case_sensitive=False,
            env_prefix=PREFIX,
            env_nested_delimiter=NESTING,
            env_ignore_empty=True,
        )

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Decode a section as JSON; some may also be given by one setting alone."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return {_ALONE[field_name]: value} if field_name in _ALONE else value


def _environment() -> Mapping[str, Any]:
    known = {name.upper(): f"{PREFIX}{name.upper()}" for name in RunSettings.model_fields}
    for variable in sorted(os.environ):
        name = variable.upper()
        section = name.removeprefix(PREFIX).partition(NESTING)[0]
        if name.startswith(PREFIX) and name not in _OTHER_VARIABLES and section not in known:
            near = difflib.get_close_matches(section, known, n=1)
            all_of_them = f"known settings: {', '.join(sorted(known.values()))}"
            hint = f"did you mean {known[near[0]]}?" if near else all_of_them
            raise InputError(f"is not a setting; {hint}", field=variable)
    found: dict[str, Any] = _Environment()()
    for section, free in (("llm", "parameters"), ("policy", "settings")):
        held = found.get(section)
        if isinstance(held, dict) and isinstance(held.get(free), dict):
            # Their types are not known here, so nothing else tells a number from a text.
            decoded = {name: _decoded(value) for name, value in held[free].items()}
            found[section] = {**held, free: decoded}
    return found


# Variables of ours that are no settings.
_OTHER_VARIABLES = frozenset({CACHE_VARIABLE, "AGENTREC_QDRANT_API_KEY"})


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
