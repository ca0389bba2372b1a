"""Parse a prompt written for any chat model into the compact form that the embedded model knows.

A large model's tokenizer would do this implicitly; here it is a step of its own: the sections of
the prompt are found by their tags, each line's label is looked up, and unknown words are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from langchain_core.messages import BaseMessage

from agentrec.embedded_model.text_grammar import Task, known_words
from agentrec.embedded_model.vocabulary import MAX_CANDIDATES, UNKNOWN, Vocabulary
from agentrec.llm.answers.preference_statements import parse_preference

_TASK = re.compile(r"^Task: (\w+)\s*$", re.MULTILINE)
_SECTION = re.compile(
    r"^<(history|candidates|predictions|target|factors|hint|preference)>\n(.*?)\n</\1>$",
    re.MULTILINE | re.DOTALL,
)
_DATA = re.compile(r"^<(\w+)>\n.*?\n</\1>$", re.MULTILINE | re.DOTALL)
_LINE_MARK = re.compile(r"^(?:C\d{2,} \| |\d{1,3}\. )")
_COUNT = re.compile(r"(?:exactly|up to) (\d{1,3}) (?:numbered lines|hints)")


@dataclass(frozen=True)
class CompactPrompt:
    """A prompt in the embedded model's terms.

    Attributes:
        task: What is asked.
        sections: Token ids of each known section, by mark, such as ``<history>``.
        known: For each listed candidate whether the model knows it and has a handle for it.
        lines: The candidate lines as listed, for the answer.
        count: How many lines are asked for.
    """

    task: Task
    sections: Mapping[str, tuple[int, ...]]
    known: tuple[bool, ...]
    lines: tuple[str, ...]
    count: int


def parse_prompt(messages: Sequence[BaseMessage], vocabulary: Vocabulary) -> CompactPrompt | None:
    """Parse a conversation; its last message that names a task counts.

    Returns:
        The prompt, or ``None`` if no message names a task that the model knows.
    """
    texts = [message.text for message in messages if message.type in {"human", "system"}]
    # Titles, hints and reflections name no task and no count, whatever they say.
    instructions = [_DATA.sub("", text) for text in texts]
    for index in range(len(texts) - 1, -1, -1):
        found = _TASK.search(instructions[index])
        if found is None or found[1] not in get_args(Task):
            continue
        task: Task = next(name for name in get_args(Task) if name == found[1])
        blocks = {m[1]: m[2].splitlines() for m in _SECTION.finditer(texts[index])}
        counts = _COUNT.findall("\n".join(instructions[index:]))
        lines = tuple(blocks.get("candidates", ()))
        items = [_item_index(line, vocabulary) for line in lines]
        return CompactPrompt(
            task=task,
            sections=_section_tokens(blocks, vocabulary) | _candidate_tokens(items, vocabulary),
            known=tuple(i is not None and n < MAX_CANDIDATES for n, i in enumerate(items)),
            lines=lines,
            count=int(counts[-1]) if counts else 10,
        )
    return None


def _item_index(line: str, vocabulary: Vocabulary) -> int | None:
    """Return the catalogue index of the item that a line shows after its handle or number."""
    return vocabulary.item_index.get(_LINE_MARK.sub("", line, count=1))


def _candidate_tokens(
    items: Sequence[int | None], vocabulary: Vocabulary
) -> dict[str, tuple[int, ...]]:
    """Candidates as tokens; an unknown one keeps its position and so its handle."""
    unknown = vocabulary.ids[UNKNOWN]
    first = vocabulary.first_item
    tokens = tuple(unknown if item is None else item + first for item in items)
    return {"<candidates>": tokens} if tokens else {}


def _section_tokens(
    blocks: Mapping[str, list[str]], vocabulary: Vocabulary
) -> dict[str, tuple[int, ...]]:
    sections: dict[str, tuple[int, ...]] = {}
    for name in ("history", "predictions", "target"):
        lines = blocks.get(name, ())
        items = [_item_index(line, vocabulary) for line in lines]
        if name == "target":
            # It is the label alone, which may itself begin like a numbered line.
            whole = [vocabulary.item_index.get(line) for line in lines]
            items = [i if w is None else w for i, w in zip(items, whole, strict=True)]
        if any(item is not None for item in items):
            sections[f"<{name}>"] = tuple(
                item + vocabulary.first_item for item in items if item is not None
            )
    for name in ("factors", "hint"):
        words = known_words(" ".join(blocks.get(name, ())), vocabulary.ids)
        if name == "hint" and (
            preferred := _preference_words(blocks.get("preference", ()), vocabulary)
        ):
            words = [*words, "and", *preferred] if words else preferred
        if words:
            sections[f"<{name}>"] = tuple(vocabulary.ids[word] for word in words)
    return sections


def _preference_words(lines: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Turn stated preferences into a hint, the form that the model was taught to follow."""
    wanted: list[str] = []
    for stated in parse_preference("\n".join(lines)):
        # A statement names its factor once, and the model's phrases each hold it.
        for part in re.split(r"\band\b|,", stated.preference):
            for phrase in (f"{stated.factor} {part}", part):
                if words := known_words(phrase, vocabulary.ids):
                    wanted += [*(["and"] if wanted else []), *words]
                    break
    return ["prefer", *wanted] if wanted else []
