"""The compact prompt: a task mark, sections of tokens, and the mark where the answer begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentrec.llm.catalog_lm.vocabulary import ANSWER, SECTIONS, Vocabulary


def prompt_tokens(
    task: str, sections: Mapping[str, Sequence[int]], vocabulary: Vocabulary
) -> list[int]:
    """Token ids of a compact prompt.

    Args:
        task: A task's name, such as ``rank``.
        sections: Content by section mark; put in the order of ``SECTIONS``, empty ones left out.
        vocabulary: The tokens.
    """
    tokens = [vocabulary.ids[f"<{task}>"]]
    for mark in SECTIONS:
        content = sections.get(mark, ())
        if content:
            tokens += [vocabulary.ids[mark], *content]
    return [*tokens, vocabulary.ids[ANSWER]]
