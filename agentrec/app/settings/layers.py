"""Gathering settings: command line before environment before file before defaults."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from agentrec.app.settings.demo_settings import DemoSettings
from agentrec.app.settings.faults import Origin, fault_of, refuse_secrets
from agentrec.app.settings.file import SettingsFile, find_settings_file, read_settings_file
from agentrec.app.settings.policy_settings import PolicySettings
from agentrec.data.fetching import CACHE_VARIABLE
from agentrec.errors import InputError

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
) -> tuple[DemoSettings, Path | None]:
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
    return DemoSettings.model_validate(merged), config


class _Named(BaseSettings, DemoSettings):
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
    known = {name.upper(): f"{PREFIX}{name.upper()}" for name in DemoSettings.model_fields}
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
            DemoSettings.model_validate(tried)
        else:
            # As JSON and strictly: a file has types of its own, and "5" is no number in it.
            DemoSettings.model_validate_json(json.dumps(tried, default=str), strict=True)
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
