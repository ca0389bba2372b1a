"""From a prompt as any model gets it to the compact form that the embedded model was taught.

A large model's tokenizer would do this unseen; here it is a step of its own: the sections of the
prompt are found by their tags, each line's label is looked up, and words the model never met are
dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from langchain_core.messages import BaseMessage

from agentrec.llm.catalog_lm.vocabulary import Vocabulary
from agentrec.llm.catalog_lm.wording import as_words

Task = Literal["rank", "critique", "diagnose", "hints"]

_TASK = re.compile(r"^Task: (\w+)\s*$", re.MULTILINE)
_SECTION = re.compile(
    r"^<(history|candidates|predictions|target|hint)>\n(.*?)\n</\1>$", re.MULTILINE | re.DOTALL
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
        candidates: Catalogue position of each candidate as listed, ``None`` where unknown.
        lines: The candidate lines as listed, for the answer.
        count: How many lines are asked for.
    """

    task: Task
    sections: Mapping[str, tuple[int, ...]]
    candidates: tuple[int | None, ...]
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
        known = vocabulary.item_places
        lines = tuple(blocks.get("candidates", ()))
        return CompactPrompt(
            task=task,
            sections=_section_tokens(blocks, vocabulary, known),
            candidates=tuple(known.get(_MARK.sub("", line, count=1)) for line in lines),
            lines=lines,
            count=int(counts[-1]) if counts else 10,
        )
    return None


def _section_tokens(
    blocks: Mapping[str, list[str]], vocabulary: Vocabulary, known: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    sections: dict[str, tuple[int, ...]] = {}
    for name in ("history", "predictions", "target"):
        places = [known.get(_MARK.sub("", line, count=1)) for line in blocks.get(name, ())]
        if name == "target":
            # It comes as the label alone, which may itself begin like a numbered line.
            whole = [known.get(line) for line in blocks.get(name, ())]
            places = [p if w is None else w for p, w in zip(places, whole, strict=True)]
        if any(place is not None for place in places):
            sections[f"<{name}>"] = tuple(
                place + vocabulary.first_item for place in places if place is not None
            )
    words = as_words(" ".join(blocks.get("hint", ())), vocabulary.ids)
    tokens = tuple(vocabulary.ids[word] for word in words)
    return sections | ({"<hint>": tokens} if tokens else {})
