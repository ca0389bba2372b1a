"""What is wrong with a setting, in one line that says where it stands and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from agentrec.app.settings import DemoSettings
from agentrec.app.settings_file import SettingsFile
from agentrec.errors import InputError
from agentrec.llm.call_errors import masked
from agentrec.llm.secret_names import secret_paths

_LONGEST_SHOWN = 40
# pydantic's ways of saying that a section is none.
_NO_SECTION = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})


# Options that are not named for the setting they set.
_OPTIONS: Mapping[str, str] = {
    "llm.name": "--llm",
    "limits.max_concurrency": "--concurrency",
    "budget.tokens": "--limit-tokens",
    "budget.money": "--limit-cost",
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
    # An unknown name before all else: often it is why another value is not there.
    faults = error.errors(include_url=False)
    first: Mapping[str, Any] = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    keys = _keys(first, layer)
    return origin.fault(_problem(first, keys), keys)


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


def _problem(fault: Mapping[str, Any], keys: Sequence[str]) -> str:
    if fault["type"] == "extra_forbidden":
        known = _names_in(keys[:-1])
        near = difflib.get_close_matches(keys[-1], known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"is no setting; {meant}"
    if fault["type"] in _NO_SECTION:
        names = _names_in(keys)
        inside = f" with {', '.join(names)}" if names else ""
        return f"is a section{inside}, not a single value"
    said = str(fault["msg"]).removeprefix("Value error, ")
    said = said.replace("Input should be", "must be")
    said = said.replace("greater than or equal to", "at least").partition(", unable to parse")[0]
    if said == "Field required":
        return "is missing"
    value = fault["input"]
    if said.startswith("must be") and isinstance(value, str | int | float):
        shown = masked(repr(value))
        said += f", not {shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + '...'}"
    return said


def _names_in(keys: Sequence[str]) -> list[str]:
    """The settings of a section."""
    section: type[BaseModel] = DemoSettings
    for each in keys:
        kind = section.model_fields[each].annotation if each in section.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        section = kind
    return list(section.model_fields)
