"""A preference pair as one line of JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from agentrec.catalog import clean_text
from agentrec.preferences import PreferencePair

MAX_LINE_BYTES = 4 * 2**20

PAIR_ID = "pair_id"


class BrokenPairError(ValueError):
    """What should be a pair is none.

    Args:
        problem: What is wrong, in one line.
        field: The field concerned; empty if it is the whole.
    """

    def __init__(self, problem: str, field: str = "") -> None:
        self.problem = problem
        self.field = field
        super().__init__(f"field {field!r}: {problem}" if field else problem)


def line_of(pair: PreferencePair, pair_id: str) -> bytes:
    """A pair as one line with its id in front: equal bytes for equal pairs.

    Args:
        pair: The pair.
        pair_id: Its id, which takes as long to make as the line.
    """
    record = {PAIR_ID: pair_id, **pair.model_dump()}
    line = json.dumps(record, ensure_ascii=False) + "\n"
    try:
        return line.encode()
    except UnicodeEncodeError:
        # Half a character, as cut texts have it, can be spelled in JSON but not in UTF-8.
        return (json.dumps(record) + "\n").encode()


def pair_in_line(line: bytes) -> tuple[str, PreferencePair]:
    """Read a line that ``line_of`` made.

    Returns:
        The pair's id and the pair.

    Raises:
        BrokenPairError: If it is none.
    """
    try:
        record = json.loads(line)
    except RecursionError as error:
        raise BrokenPairError("is nested too deeply") from error
    except ValueError as error:
        # Of the error, only what cannot hold foreign text.
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not UTF-8"
        raise BrokenPairError(f"is not valid JSON ({reason})") from error
    if not isinstance(record, dict):
        raise BrokenPairError("is not a JSON object")
    return pair_of_record(record)


def pair_of_record(record: Mapping[str, object]) -> tuple[str, PreferencePair]:
    """The id and the pair out of the object that a line holds.

    Raises:
        BrokenPairError: If a field is missing, unknown or wrong, or the id is not that of the pair.
    """
    fields = {name: value for name, value in record.items() if name != PAIR_ID}
    pair = validated(fields)
    pair_id = pair.pair_id
    if record.get(PAIR_ID) != pair_id:
        raise BrokenPairError(f"is not the id of this pair, which is {pair_id}", PAIR_ID)
    return pair_id, pair


def validated(fields: Mapping[str, object]) -> PreferencePair:
    """Make a pair of fields whose values anybody may have written.

    Raises:
        BrokenPairError: With the first field that is missing, unknown or wrong.
    """
    try:
        return PreferencePair.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = clean_text(".".join(map(str, first["loc"])), 80)
        raise BrokenPairError(clean_text(first["msg"], 200), place) from error
