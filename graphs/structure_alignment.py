"""Structure alignment: pairs that teach a model the form of a text, beside those for its content.

Preference optimisation on content alone lets the form slip: a text that the recommender likes a
little more is preferred whether or not the next one can still be read. So a good text is also
paired with itself in broken form, which differs in nothing else.

Source: RLRF4Rec names structure alignment as a companion of DPO and does not say how it is done.
Differs: this is our reading of it, therefore a part of its own that can be left out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from agentrec.graphs.preference_structure import StructureCheck
from agentrec.llm.answers.preference_statements import StatedPreference
from agentrec.preferences import PreferencePair

StructureBreak = Literal[
    "factor names dropped",
    "lines merged",
    "brackets lost",
    "cut in a line",
    "line repeated",
    "numbered prose",
]

BREAKS: tuple[StructureBreak, ...] = get_args(StructureBreak)

_TRIES = 8


@dataclass(frozen=True)
class StructureAlignment:
    """Makes structure pairs of the chosen texts of reward pairs.

    Attributes:
        check: What a whole text is; every variant fails it.
        count: How many variants of a text there are at most, 0 to 6; 0 makes none.
        seed: Same seed, same variants of the same text.
        max_length_ratio: How many times longer than the other a text of a pair is at most, at
            least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    check: StructureCheck
    count: int = 1
    seed: int = 0
    max_length_ratio: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.count <= len(BREAKS):
            raise ValueError(f"count is 0 to {len(BREAKS)}, not {self.count}")
        if not self.max_length_ratio >= 1:
            raise ValueError(f"max_length_ratio is at least 1, not {self.max_length_ratio}")

    def pairs(self, pair: PreferencePair) -> list[PreferencePair]:
        """Pairs of the chosen text and its broken variants.

        Args:
            pair: A reward pair. Its chosen text has passed the filters, so nothing here leaks
                what it did not.

        Returns:
            At most ``count`` pairs of the kind ``structure``; none if the text is not whole.
        """
        return [
            PreferencePair(
                session_id=pair.session_id,
                user_id=pair.user_id,
                kind="structure",
                prompt=pair.prompt,
                chosen=pair.chosen,
                rejected=broken,
                chosen_reward=pair.chosen_reward,
                provenance=pair.provenance.model_copy(update={"broken": name}),
            )
            for name, broken in self.variants(pair.chosen, pair.session_id)
        ]

    def variants(self, text: str, session_id: str = "") -> list[tuple[StructureBreak, str]]:
        """Break a text, each time in another way; which ways is drawn by lot.

        Args:
            text: The text.
            session_id: Its session, so that equal texts need not break alike.

        Returns:
            How and what, at most ``count``. A way that does nothing to this text, such as losing
            brackets it does not have, is passed over. None for a text that is not whole.
        """
        if self.count == 0 or self.check.fault(text) is not None:
            return []
        drawn = hashlib.sha256(f"{self.seed}\x00{session_id}\x00{text}".encode()).digest()
        rng = random.Random(drawn)
        found: list[tuple[StructureBreak, str]] = []
        for name in rng.sample(BREAKS, len(BREAKS)):
            broken = self._broken(name, text, rng)
            if broken is not None and all(broken != other for _, other in found):
                found.append((name, broken))
            if len(found) == self.count:
                break
        return found

    def _broken(self, name: StructureBreak, text: str, rng: random.Random) -> str | None:
        lines = text.splitlines()
        stated = [found for line in lines if (found := self.check.statement(line)) is not None]
        for _ in range(_TRIES):
            broken = _WAYS[name](lines, stated, rng)
            lengths = sorted((len(broken), len(text)))
            # Some draws leave a text whole: a line that is cut behind its last word.
            if (
                broken
                and lengths[1] <= self.max_length_ratio * lengths[0]
                and self.check.fault(broken) is not None
            ):
                return broken
        return None


def _without_factors(
    lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random
) -> str:
    return "\n".join(map(_said, stated))


def _merged(lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random) -> str:
    return rng.choice((" ", ", ", "; ")).join(lines)


def _without_brackets(
    lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random
) -> str:
    """Both brackets are lost from all lines, or one of a kind: what fails depends on the check."""
    lost = str.maketrans("", "", rng.choice(("(", ")", "()")))
    return "\n".join(line.translate(lost) for line in lines)


def _cut(lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random) -> str:
    *whole, last = lines
    # Early cuts also break a line that has no brackets left to be cut from one another.
    end = rng.randint(1, max(1, len(last) - 1)) if rng.random() < 0.5 else rng.randint(1, 8)
    return "\n".join([*whole, last[:end].rstrip()])


def _repeated(lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random) -> str:
    place = rng.randrange(len(lines))
    return "\n".join([*lines[: place + 1], lines[place], *lines[place + 1 :]])


def _prose(lines: Sequence[str], stated: Sequence[StatedPreference], rng: random.Random) -> str:
    lead = rng.choice(("The user prefers", "They like", "I think this user enjoys"))
    return "\n".join(
        f"{number}. {lead} {each.preference}"
        + (f", as {each.evidence} shows." if each.evidence else ".")
        for number, each in enumerate(stated, start=1)
    )


def _said(stated: StatedPreference) -> str:
    return f"{stated.preference} ({stated.evidence})" if stated.evidence else stated.preference


_Way = Callable[[Sequence[str], Sequence[StatedPreference], random.Random], str]
_WAYS: Mapping[StructureBreak, _Way] = {
    "factor names dropped": _without_factors,
    "lines merged": _merged,
    "brackets lost": _without_brackets,
    "cut in a line": _cut,
    "line repeated": _repeated,
    "numbered prose": _prose,
}
