"""What is wrong with a setting, in one line that says where it stands and what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from agentrec.app.settings.demo_settings import DemoSettings
from agentrec.app.settings.file import SettingsFile
from agentrec.app.settings.validation_messages import first_fault, in_words, placed
from agentrec.errors import InputError
from agentrec.llm.providers.secrets import secret_paths

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
    return origin.fault(in_words(first, keys, DemoSettings), keys)


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
