"""A preference pair as a row of a data set for training libraries, and as a line of a sink's file.

The columns of a row:

==================  =======  ====================================================================
column              type     holds
==================  =======  ====================================================================
prompt              chat     the prompt: a list of ``{role, content}``, or a text
chosen              chat     the better text: a list of one assistant message, or a text
rejected            chat     the worse text, in the same form
pair_id             string   content-derived identity of the pair
session_id          string   the session
user_id             string   the user of the session; empty if unknown
kind                string   ``reward`` or ``structure``
chosen_value        double   reward of the better text, 0 to 1
rejected_value      double   reward of the worse text; null if it has none
gap                 double   difference of the two rewards, 0 to 1, or null
chosen_margin       double   log-probability margin of the better text, in nats
rejected_margin     double   the same of the worse text, or null
margin_gap          double   difference of the two margins, or null
model               string   the language model that wrote the texts
reward_model        string   parameter hash of the reward model
prompt_hash         string   hash of the prompt set
temperature         double   sampling temperature
samples             int64    number of texts written for the session
seed                int64    sampling seed; null if unknown
broken              string   how the format of a structure pair's rejected text was broken
run                 string   name of the run
==================  =======  ====================================================================

Readers of JSON guess types, and some turn session ids such as ``2024-01-01`` into times. Parquet
states its types.

Source: the preference type of TRL's data sets, conversational and standard.
Differs: no column is called ``margin``, because TRL's reward trainer would use it in its loss.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from agentrec.catalog import clean_text
from agentrec.preferences import PairProvenance, PreferencePair

MAX_LINE_BYTES = 4 * 2**20

PAIR_ID = "pair_id"

ExportForm = Literal["conversational", "plain"]
"""``conversational``: messages, for models with a chat template. ``plain``: texts."""

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


def pair_to_row(pair: PreferencePair, form: ExportForm) -> dict[str, object]:
    """Turn a pair into a row, with the columns in the order of ``COLUMNS``.

    In the plain form, the messages of a prompt are joined, each followed by an empty line, so that
    an answer can follow. Unpaired surrogates, which cut texts contain and UTF-8 cannot hold, become
    question marks.
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
        "margin_gap": None if worse is None else _finite_difference(better.margin, worse.margin),
        **{name: getattr(pair.provenance, name) for name in COLUMNS if name in _PROVENANCE},
    }


def pair_from_row(row: Mapping[str, object]) -> PreferencePair:
    """Read a pair from a row of either form, or from the object of a sink's line.

    Unknown columns are ignored: people add their own. ``gap`` and ``margin_gap`` are computed
    again. The prompt of a plain row becomes one user message, so the pair's id differs from the one
    it was written with.

    Raises:
        PairFormatError: A field is missing or wrong; the error names it.
    """
    if _SINK_FIELD in row:
        return pair_from_record(row)[1]
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
        pair = validate_pair(fields)
    except PairFormatError as error:
        raise PairFormatError(error.problem, _column(error.field)) from error
    claimed = row.get(PAIR_ID)
    if not plain and claimed is not None and claimed != pair.pair_id:
        raise PairFormatError(f"is not the id of this pair, which is {pair.pair_id}", PAIR_ID)
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


def _finite_difference(first: float, second: float) -> float:
    """Subtract; a difference too large for a float, which JSON cannot hold, becomes the largest."""
    largest = sys.float_info.max
    return max(-largest, min(largest, first - second))


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
        raise PairFormatError(f"{state}; every pair needs it", name)
    return value


def _turns(row: Mapping[str, object]) -> object:
    prompt = row["prompt"]
    if not isinstance(prompt, str):
        return prompt
    return [{"role": "user", "content": prompt.removesuffix(_TURN_END)}]


def _text(row: Mapping[str, object], name: str, plain: bool) -> object:
    """Return the text of an answer: the value of a plain row, else that of its one message."""
    value = row[name]
    if plain:
        if not isinstance(value, str):
            raise PairFormatError("must be a text, because the prompt is a text", name)
        return value
    message = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(message, dict) or message.get("role") != "assistant":
        raise PairFormatError('must be a list of one message {"role": "assistant", ...}', name)
    if not isinstance(message.get("content"), str):
        raise PairFormatError("must be a text", f"{name}.0.content")
    return message["content"]


def _reward(row: Mapping[str, object], name: str) -> dict[str, object]:
    margin = row.get(f"{name}_margin")
    return {"value": row[f"{name}_value"], "margin": 0.0 if margin is None else margin}


class PairFormatError(ValueError):
    """A row or line is not a preference pair.

    Args:
        problem: What is wrong, in one line.
        field: The wrong field; empty if the whole is wrong.
    """

    def __init__(self, problem: str, field: str = "") -> None:
        self.problem = problem
        self.field = field
        super().__init__(f"field {field!r}: {problem}" if field else problem)


def pair_to_line(pair: PreferencePair, pair_id: str) -> bytes:
    """Turn a pair into one line with its id in front; equal pairs give equal bytes.

    Args:
        pair: The pair.
        pair_id: Its id; computing it again would take as long as making the line.
    """
    record = {PAIR_ID: pair_id, **pair.model_dump()}
    line = json.dumps(record, ensure_ascii=False) + "\n"
    try:
        return line.encode()
    except UnicodeEncodeError:
        # JSON can escape an unpaired surrogate, as cut texts contain it; UTF-8 cannot hold it.
        return (json.dumps(record) + "\n").encode()


def pair_from_line(line: bytes) -> tuple[str, PreferencePair]:
    """Read a line that ``pair_to_line`` made.

    Returns:
        The pair's id and the pair.

    Raises:
        PairFormatError: It is not such a line.
    """
    try:
        record = json.loads(line)
    except RecursionError as error:
        raise PairFormatError("is nested too deeply") from error
    except ValueError as error:
        # Only the part of the error that cannot hold untrusted text.
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not UTF-8"
        raise PairFormatError(f"is not valid JSON ({reason})") from error
    if not isinstance(record, dict):
        raise PairFormatError("is not a JSON object")
    return pair_from_record(record)


def pair_from_record(record: Mapping[str, object]) -> tuple[str, PreferencePair]:
    """Read the id and the pair from the object of a line.

    Raises:
        PairFormatError: A field is missing, unknown or wrong, or the id is not the pair's.
    """
    fields = {name: value for name, value in record.items() if name != PAIR_ID}
    pair = validate_pair(fields)
    pair_id = pair.pair_id
    if record.get(PAIR_ID) != pair_id:
        raise PairFormatError(f"is not the id of this pair, which is {pair_id}", PAIR_ID)
    return pair_id, pair


def validate_pair(fields: Mapping[str, object]) -> PreferencePair:
    """Build a pair from fields with untrusted values.

    Raises:
        PairFormatError: A field is missing, unknown or wrong; the error names the first one.
    """
    try:
        return PreferencePair.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = clean_text(".".join(map(str, first["loc"])), 80)
        raise PairFormatError(clean_text(first["msg"], 200), field) from error
