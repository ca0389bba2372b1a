"""Gathering settings: command line before environment before file before defaults."""

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
from agentrec.llm.providers.secrets import secret_paths
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.settings_file import SettingsFile, find_settings_file, read_settings_file
from agentrec.settings.validation_messages import first_fault, in_words, placed

# Options that are not named for the setting they set.
_OPTIONS: Mapping[str, str] = {
    "llm.name": "--llm",
    "limits.max_concurrency": "--concurrency",
    "budget.tokens": "--limit-tokens",
    "budget.money": "--limit-cost",
    "policy.kind": "--policy",
}


@dataclass(frozen=True)
class Origin:
    """Where settings come from.

    Attributes:
        source: In words.
        file: The file, if it is one.
    """

    source: Literal["file", "environment", "command line"]
    file: SettingsFile | None = None

    def fault(self, problem: str, keys: Sequence[str]) -> InputError:
        """An error about one setting."""
        if self.file is not None:
            line = self.file.line_of(tuple(keys))
            return InputError(problem, file=self.file.path, line=line, field=".".join(keys))
        if self.source == "environment":
            variable = "AGENTREC_" + "__".join(keys).upper()
            return InputError(f"{problem} (environment variable)", field=variable)
        field = ".".join(keys)
        option = _OPTIONS.get(field, "--" + keys[-1].replace("_", "-"))
        return InputError(f"{problem} ({option})", field=field)


def refuse_secrets(layer: Mapping[str, Any], origin: Origin) -> None:
    """Refuse keys to accounts: files are shared, and settings are written into manifests.

    Raises:
        InputError: If there is one; its value is not told.
    """
    for keys in secret_paths(layer):
        raise origin.fault(
            "looks like a key, which has no place among settings: put it into the environment"
            " variable of the provider (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) and delete it here",
            keys,
        )


def fault_of(error: ValidationError, layer: Mapping[str, Any], origin: Origin) -> InputError:
    """The first fault that validation found, as an error about its setting."""
    first = first_fault(error)
    keys = _keys(first, layer)
    if below := placed(first):
        return origin.fault(below.problem, [*keys, *below.keys])
    return origin.fault(in_words(first, keys, RunSettings), keys)


def _keys(fault: Mapping[str, Any], layer: Mapping[str, Any]) -> list[str]:
    """The setting's path of names, without the branches of unions that pydantic adds."""
    keys: list[str] = []
    inner: Any = layer
    for each in fault["loc"]:
        if isinstance(inner, Mapping) and each not in inner and fault["type"] != "missing":
            break
        keys.append(str(each))
        if isinstance(inner, Mapping):
            inner = inner.get(each)
        elif isinstance(inner, list) and isinstance(each, int):
            inner = inner[each]
        else:
            # The name of a branch, behind the value itself.
            keys.pop()
            break
    return keys


PREFIX = "AGENTREC_"
NESTING = "__"

_PATHS = ("data", "run", "prompts")
# Sections for which one of their settings does, alone.
_ALONE = {"llm": "name", "policy": "kind"}
_DEFAULT_KIND = PolicySettings.model_fields["kind"].default


def load_settings(
    command_line: Mapping[str, Any] | None = None,
    config: Path | None = None,
    *,
    folder: Path | None = None,
    below: Mapping[str, Any] | None = None,
) -> tuple[RunSettings, Path | None]:
    """Gather the settings of a run.

    Each source is checked by itself, so that what is wrong is told where it stands, also where a
    source before it would have had the last word.

    Args:
        command_line: What was given there, nested like the settings themselves.
        config: A settings file; by default the one in the folder, if there is one.
        folder: Where to look for it; the working directory if not given. Relative paths in a
            file are relative to the file.
        below: Settings that any source may replace, such as those of a run that is there.

    Returns:
        The settings, and the file they came from, if any.

    Raises:
        InputError: If a source has an unknown name, a wrong value, or a key to an account.
    """
    if config is None:
        config = find_settings_file(Path() if folder is None else folder)
    file = None if config is None else read_settings_file(config)
    layers = [] if file is None else [(_in_place(file), Origin("file", file))]
    layers += [
        (_environment(), Origin("environment")),
        (command_line or {}, Origin("command line")),
    ]
    merged: dict[str, Any] = dict(below or {})
    for layer, origin in layers:
        merged = _over(merged, _checked(layer, origin, merged))
    return RunSettings.model_validate(merged), config


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
        """A section as JSON; for some, one of their settings alone does too."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return {_ALONE[field_name]: value} if field_name in _ALONE else value


def _environment() -> Mapping[str, Any]:
    known = {name.upper(): f"{PREFIX}{name.upper()}" for name in RunSettings.model_fields}
    for variable in sorted(os.environ):
        name = variable.upper()
        section = name.removeprefix(PREFIX).partition(NESTING)[0]
        if name.startswith(PREFIX) and name != CACHE_VARIABLE and section not in known:
            near = difflib.get_close_matches(section, known, n=1)
            told = f"known are {', '.join(sorted(known.values()))}"
            meant = f"did you mean {known[near[0]]}?" if near else told
            raise InputError(f"is no setting; {meant}", field=variable)
    found: dict[str, Any] = _Environment()()
    for section, free in (("llm", "parameters"), ("policy", "settings")):
        held = found.get(section)
        if isinstance(held, dict) and isinstance(held.get(free), dict):
            # Their types are not known here, so nothing else tells a number from a text.
            decoded = {name: _decoded(value) for name, value in held[free].items()}
            found[section] = {**held, free: decoded}
    return found


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _in_place(file: SettingsFile) -> Mapping[str, Any]:
    """The file's settings, with relative paths seen from where it stands."""
    content = dict(file.content)
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = str(file.path.parent / content[name])
    return content


def _checked(
    layer: Mapping[str, Any], origin: Origin, below: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What a source says, with the sections that it names by one setting alone written out."""
    refuse_secrets(layer, origin)
    whole = {
        **layer,
        **{
            section: {alone: layer[section]}
            for section, alone in _ALONE.items()
            if isinstance(layer.get(section), str)
        },
    }
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
        raise fault_of(error, tried, origin) from None
    return whole


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others in their place, setting by setting."""
    policy, wanted = below.get("policy", {}), above.get("policy", {})
    kind = policy.get("kind", _DEFAULT_KIND)
    if wanted.get("kind", kind) != kind:
        # What one kind can be set to, another kind cannot.
        policy = {name: value for name, value in policy.items() if name != "settings"}
        below = {**below, "policy": policy}
    return _merged(below, above)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(known, value)
        else:
            merged[name] = value
    return merged
