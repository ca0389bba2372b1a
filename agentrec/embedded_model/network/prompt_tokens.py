"""The compact prompt: a task mark, sections of tokens, and the mark where the answer begins.

Ten slots of fixed places come first, filled up in front: the history, or where predictions are
reflected on, those. So every part stands where the network expects it: slots in places 2 to 11, the
target behind them, candidates from 13 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentrec.embedded_model.network.vocabulary import (
    ANSWER,
    MAX_CANDIDATES,
    NONE,
    SAY,
    Vocabulary,
)
from agentrec.llm.prompts.session_view import HISTORY_LENGTH

HISTORY_AT = 2
CANDIDATES_AT = HISTORY_AT + HISTORY_LENGTH + 1
REFLECTING = frozenset({"critique", "diagnose", "hints"})


def prompt_tokens(
    task: str, sections: Mapping[str, Sequence[int]], vocabulary: Vocabulary
) -> list[int]:
    """Token ids of a compact prompt.

    Args:
        task: A task's name, such as ``rank``.
        sections: Content by section mark. Of the history the last ten are taken, of predictions
            the first ten, of candidates the first hundred. What a task has no use for is left
            out: reflection is about predictions and target, not about the history.
        vocabulary: The tokens.
    """
    ids = vocabulary.ids
    if task in REFLECTING:
        mark, slots = "<predictions>", list(sections.get("<predictions>", ()))[:HISTORY_LENGTH]
        behind = list(sections.get("<target>", ()))[:1]
    else:
        mark, slots = "<history>", list(sections.get("<history>", ()))[-HISTORY_LENGTH:]
        behind = []
        for name, most in (("<factors>", None), ("<candidates>", MAX_CANDIDATES), ("<hint>", None)):
            content = sections.get(name, ())
            if content:
                behind += [ids[name], *content[:most]]
    empty = [ids[NONE]] * (HISTORY_LENGTH - len(slots))
    end = ANSWER if task == "rank" else SAY
    return [ids[f"<{task}>"], ids[mark], *empty, *slots, *behind, ids[end]]
