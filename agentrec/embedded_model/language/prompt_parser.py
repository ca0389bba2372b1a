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

from agentrec.embedded_model.language.text_grammar import Task, as_words
from agentrec.embedded_model.language.vocabulary import MAX_CANDIDATES, UNKNOWN, Vocabulary
from agentrec.llm.answers.preference_statements import parse_preference

_TASK = re.compile(r"^Task: (\w+)\s*$", re.MULTILINE)
_SECTION = re.compile(
    r"^<(history|candidates|predictions|target|factors|hint|preference)>\n(.*?)\n</\1>$",
    re.MULTILINE | re.DOTALL,
)
_DATA = re.compile(r"^<(\w+)>\n.*?\n</\1>$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"^(?:C\d{2,} \| |\d{1,3}\. )")
_COUNT = re.compile(r"(?:exactly|up to) (\d{1,3}) (?:numbered lines|hints)")


@dataclass(frozen=True)
class CompactPrompt:
    """A prompt in the embedded model's terms.

    Attributes:
        task: What is asked.
        sections: Token ids of each known section, by mark, such as ``<history>``.
        known: For each candidate as listed whether the model knows it and can tell it apart.
        lines: The candidate lines as listed, for the answer.
        count: How many lines are asked for.
    """

    task: Task
    sections: Mapping[str, tuple[int, ...]]
    known: tuple[bool, ...]
    lines: tuple[str, ...]
    count: int


def read_prompt(messages: Sequence[BaseMessage], vocabulary: Vocabulary) -> CompactPrompt | None:
    """Read a conversation; the last message that names a task counts.

    Returns:
        The prompt, or ``None`` if no message names a task that the model knows.
    """
    texts = [message.text for message in messages if message.type in {"human", "system"}]
    # Titles, hints and reflections name no task and no count, whatever they say.
    instructions = [_DATA.sub("", text) for text in texts]
    for place in range(len(texts) - 1, -1, -1):
        found = _TASK.search(instructions[place])
        if found is None or found[1] not in get_args(Task):
            continue
        task: Task = next(name for name in get_args(Task) if name == found[1])
        blocks = {m[1]: m[2].splitlines() for m in _SECTION.finditer(texts[place])}
        counts = _COUNT.findall("\n".join(instructions[place:]))
        lines = tuple(blocks.get("candidates", ()))
        places = [_place(line, vocabulary) for line in lines]
        return CompactPrompt(
            task=task,
            sections=_section_tokens(blocks, vocabulary) | _candidate_tokens(places, vocabulary),
            known=tuple(p is not None and n < MAX_CANDIDATES for n, p in enumerate(places)),
            lines=lines,
            count=int(counts[-1]) if counts else 10,
        )
    return None


def _place(line: str, vocabulary: Vocabulary) -> int | None:
    """Catalogue position of the item that a handled or numbered line shows."""
    return vocabulary.item_places.get(_MARK.sub("", line, count=1))


def _candidate_tokens(
    places: Sequence[int | None], vocabulary: Vocabulary
) -> dict[str, tuple[int, ...]]:
    """Candidates as tokens; one the model does not know keeps its place and so its handle."""
    unknown = vocabulary.ids[UNKNOWN]
    first = vocabulary.first_item
    tokens = tuple(unknown if place is None else place + first for place in places)
    return {"<candidates>": tokens} if tokens else {}


def _section_tokens(
    blocks: Mapping[str, list[str]], vocabulary: Vocabulary
) -> dict[str, tuple[int, ...]]:
    sections: dict[str, tuple[int, ...]] = {}
    for name in ("history", "predictions", "target"):
        places = [_place(line, vocabulary) for line in blocks.get(name, ())]
        if name == "target":
            # It comes as the label alone, which may itself begin like a numbered line.
            whole = [vocabulary.item_places.get(line) for line in blocks.get(name, ())]
            places = [p if w is None else w for p, w in zip(places, whole, strict=True)]
        if any(place is not None for place in places):
            sections[f"<{name}>"] = tuple(
                place + vocabulary.first_item for place in places if place is not None
            )
    for name in ("factors", "hint"):
        words = as_words(" ".join(blocks.get(name, ())), vocabulary.ids)
        if name == "hint" and (liked := _liked(blocks.get("preference", ()), vocabulary)):
            words = [*words, "and", *liked] if words else liked
        if words:
            sections[f"<{name}>"] = tuple(vocabulary.ids[word] for word in words)
    return sections


def _liked(lines: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Stated preferences as the hint they come to, which is how the model was taught to follow."""
    wanted: list[str] = []
    for stated in parse_preference("\n".join(lines)):
        # A statement names its factor once, and the model's phrases each hold it.
        for part in re.split(r"\band\b|,", stated.preference):
            for said in (f"{stated.factor} {part}", part):
                if words := as_words(said, vocabulary.ids):
                    wanted += [*(["and"] if wanted else []), *words]
                    break
    return ["prefer", *wanted] if wanted else []
