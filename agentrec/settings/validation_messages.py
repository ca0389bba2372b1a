"""What pydantic finds wrong with a value, as a message that says what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from agentrec.llm.secrets import masked

_LONGEST_SHOWN = 40
# pydantic's names for a value where there should be a section.
_NO_SECTION = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})


class NestedError(ValueError):
    """A validator found something wrong below the setting that it validates.

    Args:
        keys: The path of names from that setting.
        problem: What is wrong, in one line.
    """

    def __init__(self, keys: Sequence[str], problem: str) -> None:
        super().__init__(f"{'.'.join(keys)}: {problem}")
        self.keys = tuple(keys)
        self.problem = problem


def first_error(error: ValidationError) -> Mapping[str, Any]:
    """Return the error to report, as pydantic describes it."""
    # Unknown names come first: a misspelt name is often why another value is missing.
    errors = error.errors(include_url=False)
    return min(errors, key=lambda each: each["type"] != "extra_forbidden")


def nested_error(error: Mapping[str, Any]) -> NestedError | None:
    """Return what a validator raised about a setting below the one that pydantic names."""
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, NestedError) else None


def validation_message(
    error: Mapping[str, Any], keys: Sequence[str], model: type[BaseModel]
) -> str:
    """Say in one line what is wrong and what would be right.

    Args:
        error: As pydantic describes it.
        keys: The path of names to the value.
        model: The model in which the path begins.
    """
    if error["type"] == "extra_forbidden":
        known = setting_names(keys[:-1], model)
        near = difflib.get_close_matches(keys[-1], known, n=1)
        all_of_them = f"; known settings: {', '.join(known)}" if known else ""
        return "is not a setting" + (f"; did you mean {near[0]}?" if near else all_of_them)
    if error["type"] in _NO_SECTION:
        names = setting_names(keys, model)
        inside = f" with {', '.join(names)}" if names else ""
        return f"must be a section{inside}, not a single value"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "must be")
    message = message.replace("greater than or equal to", "at least")
    message = message.partition(", unable to parse")[0]
    if message == "Field required":
        return "is missing"
    value = error["input"]
    if message.startswith("must be") and isinstance(value, str | int | float):
        shown = masked(repr(value))
        shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."
        message += f", not {shown}"
    return message


def setting_names(keys: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Return the names in a section of a model; none if it is not a section."""
    section = model
    for each in keys:
        kind = section.model_fields[each].annotation if each in section.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        section = kind
    return list(section.model_fields)
