"""What pydantic finds wrong with a value, in words that say what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from agentrec.llm.providers.secrets import masked

_LONGEST_SHOWN = 40
# pydantic's ways of saying that a section is none.
_NO_SECTION = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})


class PlacedError(ValueError):
    """What a validator found wrong deeper than where it stands.

    Args:
        keys: The path of names from there.
        problem: What is wrong, in one line.
    """

    def __init__(self, keys: Sequence[str], problem: str) -> None:
        super().__init__(f"{'.'.join(keys)}: {problem}")
        self.keys = tuple(keys)
        self.problem = problem


def first_fault(error: ValidationError) -> Mapping[str, Any]:
    """The fault to tell of, as pydantic describes it."""
    # An unknown name before all else: often it is why another value is not there.
    faults = error.errors(include_url=False)
    return min(faults, key=lambda each: each["type"] != "extra_forbidden")


def placed(fault: Mapping[str, Any]) -> PlacedError | None:
    """What a validator said of a place below the one that pydantic names, if one did."""
    cause = fault.get("ctx", {}).get("error")
    return cause if isinstance(cause, PlacedError) else None


def in_words(fault: Mapping[str, Any], keys: Sequence[str], model: type[BaseModel]) -> str:
    """What is wrong, in one line.

    Args:
        fault: As pydantic describes it.
        keys: The path of names to it.
        model: What the path begins in.
    """
    if fault["type"] == "extra_forbidden":
        known = names_in(keys[:-1], model)
        near = difflib.get_close_matches(keys[-1], known, n=1)
        told = f"; known are {', '.join(known)}" if known else ""
        return "is no setting" + (f"; did you mean {near[0]}?" if near else told)
    if fault["type"] in _NO_SECTION:
        names = names_in(keys, model)
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


def names_in(keys: Sequence[str], model: type[BaseModel]) -> list[str]:
    """The names in a section of a model; none of what is no section."""
    section = model
    for each in keys:
        kind = section.model_fields[each].annotation if each in section.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        section = kind
    return list(section.model_fields)
