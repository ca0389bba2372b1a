"""A preference pair as a row of a data set that training libraries read.

==================  =======  ====================================================================
column              type     holds
==================  =======  ====================================================================
prompt              chat     what was asked: a list of ``{role, content}``, or a text
chosen              chat     the better text: one such message of the assistant, or a text
rejected            chat     the worse text, in the same form
pair_id             string   content-derived identity of the pair
session_id          string   the session
user_id             string   whose session it is; empty if not known
kind                string   ``reward`` or ``structure``
chosen_value        double   what the better text is worth, 0 to 1
rejected_value      double   the same of the worse one; null for a text nobody rewarded
gap                 double   difference of the two, 0 to 1; null likewise
chosen_margin       double   log-probability margin of the better text, in nats
rejected_margin     double   the same of the worse one; null likewise
margin_gap          double   difference of the two; null likewise
model               string   the language model that wrote the texts
reward_model        string   parameter hash of what rewarded them
prompt_hash         string   hash of the prompt set
temperature         double   of the sampling
samples             int64    how many texts were written for the session
seed                int64    that the draws come from; null if not known
broken              string   how the rejected text of a structure pair was broken
run                 string   name of the run
==================  =======  ====================================================================

Readers of JSON guess types. One that takes session ids such as ``2024-01-01`` for times changes
them; Parquet says its types itself.

Source: the preference type of TRL's data sets, conversational and standard.
Differs: no column is called ``margin``, for TRL's reward trainer would take it into its loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from agentrec.catalog import clean_text
from agentrec.preferences import PairProvenance, PreferencePair

MAX_LINE_BYTES = 4 * 2**20

PAIR_ID = "pair_id"

ExportForm = Literal["conversational", "plain"]
"""``conversational``: messages, for models with a chat template. ``plain``: texts that are put
together as they are."""

ColumnType = Literal["chat", "string", "double", "int64"]

COLUMNS: Mapping[str, ColumnType] = {
    "prompt": "chat",
    "chosen": "chat",
    "rejected": "chat",
    PAIR_ID: "string",
    "session_id": "string",
    "user_id": "string",
    "kind": "string",
    "chosen_value": "double",
    "rejected_value": "double",
    "gap": "double",
    "chosen_margin": "double",
    "rejected_margin": "double",
    "margin_gap": "double",
    "model": "string",
    "reward_model": "string",
    "prompt_hash": "string",
    "temperature": "double",
    "samples": "int64",
    "seed": "int64",
    "broken": "string",
    "run": "string",
}

_TURN_END = "\n\n"
_SINK_FIELD = "chosen_reward"
_CHAT = ("prompt", "chosen", "rejected")
_OWN = ("session_id", "user_id", "kind")


def row_of(pair: PreferencePair, form: ExportForm) -> dict[str, object]:
    """A pair as a row, its columns in the order of ``COLUMNS``.

    In the plain form the messages of a prompt stand one below the other, each with an empty line
    behind it, so that an answer can follow. Half characters, as cut texts have them and no UTF-8
    file can hold, become question marks.
    """
    pair = _encodable(pair)
    better, worse = pair.chosen_reward, pair.rejected_reward
    plain = form == "plain"
    return {
        "prompt": _plain(pair) if plain else [turn.model_dump() for turn in pair.prompt],
        "chosen": pair.chosen if plain else _answer(pair.chosen),
        "rejected": pair.rejected if plain else _answer(pair.rejected),
        PAIR_ID: pair.pair_id,
        "session_id": pair.session_id,
        "user_id": pair.user_id,
        "kind": pair.kind,
        "chosen_value": better.value,
        "rejected_value": None if worse is None else worse.value,
        "gap": pair.gap,
        "chosen_margin": better.margin,
        "rejected_margin": None if worse is None else worse.margin,
        "margin_gap": None if worse is None else better.margin - worse.margin,
        **{name: getattr(pair.provenance, name) for name in COLUMNS if name in _PROVENANCE},
    }


def pair_of_row(row: Mapping[str, object]) -> PreferencePair:
    """A pair out of a row of either form, or out of a line of a sink's file.

    Columns that are not of this format are passed over: people add their own. What is derived
    from others (``gap``, ``margin_gap``) is derived again. The prompt of a plain row becomes one
    message of the user, so such a pair has another id than the one it was written with.

    Raises:
        BrokenPairError: With the field that is missing or wrong.
    """
    if _SINK_FIELD in row:
        return pair_of_record(row)[1]
    plain = isinstance(row.get("prompt"), str)
    for name in (*_CHAT, "session_id", "chosen_value"):
        _required(row, name)
    fields: dict[str, object] = {
        "prompt": _turns(row),
        "chosen": _text(row, "chosen", plain),
        "rejected": _text(row, "rejected", plain),
        **{name: row[name] for name in _OWN if row.get(name) is not None},
        "chosen_reward": _reward(row, "chosen"),
        "rejected_reward": None if row.get("rejected_value") is None else _reward(row, "rejected"),
        "provenance": {
            "model": _required(row, "model"),
            **{name: row[name] for name in _PROVENANCE if row.get(name) is not None},
        },
    }
    if row.get("kind") != "structure":
        _required(row, "rejected_value")
    try:
        pair = validated(fields)
    except BrokenPairError as error:
        raise BrokenPairError(error.problem, _column(error.field)) from error
    claimed = row.get(PAIR_ID)
    if not plain and claimed is not None and claimed != pair.pair_id:
        raise BrokenPairError(f"is not the id of this pair, which is {pair.pair_id}", PAIR_ID)
    return pair


_PROVENANCE = frozenset(PairProvenance.model_fields)
_COLUMN_OF = {
    "chosen_reward.value": "chosen_value",
    "chosen_reward.margin": "chosen_margin",
    "rejected_reward.value": "rejected_value",
    "rejected_reward.margin": "rejected_margin",
}


def _column(field: str) -> str:
    return _COLUMN_OF.get(field, field.removeprefix("provenance."))


def _encodable(pair: PreferencePair) -> PreferencePair:
    written = json.dumps(pair.model_dump(), ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return PreferencePair.model_validate(json.loads(written.encode("utf-8", "replace")))
    return pair


def _plain(pair: PreferencePair) -> str:
    return "".join(turn.content + _TURN_END for turn in pair.prompt if turn.content)


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _required(row: Mapping[str, object], name: str) -> object:
    value = row.get(name)
    if value is None:
        state = "is null" if name in row else "is missing"
        raise BrokenPairError(f"{state}; every pair needs it", name)
    return value


def _turns(row: Mapping[str, object]) -> object:
    prompt = row["prompt"]
    if not isinstance(prompt, str):
        return prompt
    return [{"role": "user", "content": prompt.removesuffix(_TURN_END)}]


def _text(row: Mapping[str, object], name: str, plain: bool) -> object:
    """The text of an answer: of a plain row itself, else of its one message."""
    value = row[name]
    if plain:
        if not isinstance(value, str):
            raise BrokenPairError("must be a text, as the prompt is one", name)
        return value
    message = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(message, dict) or message.get("role") != "assistant":
        raise BrokenPairError('must be a list of one message {"role": "assistant", ...}', name)
    if not isinstance(message.get("content"), str):
        raise BrokenPairError("must be a text", f"{name}.0.content")
    return message["content"]


def _reward(row: Mapping[str, object], name: str) -> dict[str, object]:
    margin = row.get(f"{name}_margin")
    return {"value": row[f"{name}_value"], "margin": 0.0 if margin is None else margin}


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
