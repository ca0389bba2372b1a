"""Preference pairs: the best and the worst text of a session, or the reason why there is no pair.

Source: RLRF4Rec, best and worst of N samples.
Differs: with one target most values tie, so the log-probability margin breaks ties; texts that
break the form, leak the target, or are too close or too unequal in length make no pair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.target_leak import leaks_target
from agentrec.llm.answers.json_answers import find_list
from agentrec.llm.answers.parsing import sentence_of
from agentrec.llm.answers.preference_statements import (
    MAX_FACTOR_LENGTH,
    MAX_STATEMENT_LENGTH,
    StatedPreference,
    parse_preference,
)
from agentrec.preferences import (
    ChatTurn,
    PairProvenance,
    PreferencePair,
    PreferenceReward,
    PreferenceText,
)
from agentrec.sessions import Session

PairRejectionReason = Literal[
    "structure broken",
    "too few whole texts",
    "nothing rewarded",
    "equal texts",
    "gap too small",
    "margin too small",
    "length ratio too large",
    "target title leaked",
    "user has enough pairs",
]
"""Why there is no pair. ``structure broken``: no text has the required form. ``nothing rewarded``:
fewer than two well-formed texts have a reward."""

_TIE = 1e-9
"""Values closer than this differ by rounding alone."""


class PairingRules(BaseModel):
    """When two texts make a pair.

    Attributes:
        min_gap: Delta: smallest difference of the two values where they differ, 0 to 1. One
            position among the first ten is worth .012 to .43. Larger: fewer, surer pairs.
        min_margin: Smallest difference of the two margins, in nats, where the values tie, at least
            0; ``None`` makes no pairs of ties. Use ``None`` with a large ``min_gap``, or ties pass
            more easily than small gaps.
        max_length_ratio: Longest allowed ratio of the longer text to the shorter one, in
            characters, at least 1. Larger: the tuned model learns to write long, or short, texts.
        max_per_user: Most sessions of one user that give pairs, at least 1; ``None`` for all.
            Smaller: fewer pairs, from more different users.
        min_statements: Fewest factors that a well-formed text covers, at least 1.
        require_evidence: Whether each statement needs its evidence in brackets. The embedded
            model writes none.
        most_pairs: Most pairs of a session, at least 1: best with worst, second best with second
            worst, and so on. More: more to learn from the same texts, from closer pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_gap: float = Field(default=0.01, ge=0, le=1)
    min_margin: float | None = Field(default=0.05, ge=0)
    max_length_ratio: float = Field(default=2.0, ge=1)
    max_per_user: int | None = Field(default=None, ge=1)
    min_statements: int = Field(default=1, ge=1)
    require_evidence: bool = False
    most_pairs: int = Field(default=1, ge=1)


@dataclass(frozen=True)
class PairRejection:
    """A session without a pair.

    Attributes:
        reason: The first reason that applies.
        session_id: The session.
    """

    reason: PairRejectionReason
    session_id: str


@dataclass(frozen=True)
class _Rewarded:
    text: str
    sample: int
    reward: PreferenceReward


def pairs_of(
    session: Session,
    prompt: Sequence[ChatTurn],
    texts: Sequence[PreferenceText],
    rules: PairingRules,
    *,
    factors: Sequence[str],
    catalog: Catalog,
    provenance: PairProvenance,
    shown: Sequence[str] | None = None,
) -> tuple[PreferencePair, ...] | PairRejection:
    """Pair the best of a session's well-formed texts with the worst.

    The best text has the highest value, then the highest margin, then the lowest sample number;
    the worst is the other end of that order. The order of ``texts`` does not matter.

    The search for leaks takes tens of milliseconds for long texts: run it in a thread.

    Args:
        session: The session, with its target.
        prompt: The prompt that the texts answer; its last turn is the user's.
        texts: The texts with their rewards; may be empty.
        rules: When two texts make a pair.
        factors: The factors in the prompt, at least one.
        catalog: The items, those of the session among them.
        provenance: Where the texts come from.
        shown: Ids of the items whose titles the prompt showed, which texts may cite. By default
            the last 10 of the history.

    Returns:
        The pairs, best first, or the reason why there is none. Further pairs that break a rule are
        left out.

    Raises:
        ValueError: If a text belongs to another session, there are no factors, or the last turn
            of the prompt is not the user's.
    """
    for text in texts:
        if text.session_id != session.session_id:
            raise ValueError(f"a text of {text.session_id!r} came with {session.session_id!r}")
    check = StructureCheck(tuple(factors), rules.min_statements, rules.require_evidence)
    whole = [text for text in texts if check.fault(text.text) is None]
    if len(whole) < 2:
        broken = len(texts) > 0 and not whole
        reason: PairRejectionReason = "structure broken" if broken else "too few whole texts"
        return PairRejection(reason, session.session_id)
    rewarded = [
        _Rewarded(text.text, text.sample, text.reward) for text in whole if text.reward is not None
    ]
    if len(rewarded) < 2:
        return PairRejection("nothing rewarded", session.session_id)
    # The sample number makes first and last two texts even where all rewards are equal.
    rewarded.sort(key=lambda each: (-each.reward.value, -each.reward.margin, each.sample))
    made: dict[str, PreferencePair] = {}
    for rank in range(min(rules.most_pairs, len(rewarded) // 2)):
        best, worst = rewarded[rank], rewarded[-1 - rank]
        fault = _too_close(best, worst, rules)
        # Checked last: it takes longest.
        if fault is None and any(
            leaks_target(each.text, session, catalog, shown) for each in (best, worst)
        ):
            fault = "target title leaked"
        if fault is not None:
            if rank == 0:
                return PairRejection(fault, session.session_id)
            continue
        pair = PreferencePair(
            session_id=session.session_id,
            user_id=session.user_id or "",
            prompt=tuple(prompt),
            chosen=best.text,
            rejected=worst.text,
            chosen_reward=best.reward,
            rejected_reward=worst.reward,
            provenance=provenance,
        )
        made.setdefault(pair.pair_id, pair)
    return tuple(made.values())


def _too_close(
    best: _Rewarded, worst: _Rewarded, rules: PairingRules
) -> PairRejectionReason | None:
    if _folded(best.text) == _folded(worst.text):
        return "equal texts"
    gap = best.reward.value - worst.reward.value
    if _TIE < gap < rules.min_gap:
        return "gap too small"
    margin = best.reward.margin - worst.reward.margin
    # Two texts of equal value and margin never make a pair.
    if gap <= _TIE and (rules.min_margin is None or margin <= 0 or margin < rules.min_margin):
        return "margin too small"
    shorter, longer = sorted((len(best.text), len(worst.text)))
    return "length ratio too large" if longer > rules.max_length_ratio * shorter else None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class UserCap:
    """Limits how many sessions of each user give pairs: the first ones of a stream.

    A session that passed once passes again with all its pairs, so a stream that is repeated after
    an interruption is cut in the same way.

    Args:
        limit: Most sessions of a user, at least 1; ``None`` for all.
        kept: Pairs that are kept already, in order.

    Raises:
        ValueError: If ``limit`` is below 1.
    """

    def __init__(self, limit: int | None, kept: Iterable[PreferencePair] = ()) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self._limit = limit
        self._sessions: dict[str, set[str]] = {}
        for pair in kept:
            self.admit(pair)

    def admit(self, pair: PreferencePair) -> PairRejection | None:
        """Count a pair; return a rejection if its user has enough.

        A pair without a user always passes.
        """
        if self._limit is None or not pair.user_id:
            return None
        sessions = self._sessions.setdefault(pair.user_id, set())
        if pair.session_id not in sessions and len(sessions) >= self._limit:
            return PairRejection("user has enough pairs", pair.session_id)
        sessions.add(pair.session_id)
        return None


StructureFault = Literal[
    "a line is no statement",
    "two statements stand in a line",
    "brackets do not pair",
    "evidence is missing",
    "a factor comes twice",
    "too few statements",
]

# Room for a list number, marks of emphasis, a colon and brackets.
_LONGEST_LINE = MAX_FACTOR_LENGTH + 2 * MAX_STATEMENT_LENGTH + 40


@dataclass(frozen=True)
class StructureCheck:
    """The form of a well-formed text: one ``factor: preference (evidence)`` a line, and no more.

    The recommender reads texts line by line. A model that is tuned on loose texts unlearns the
    form. JSON is not the form: convert a JSON answer to lines first.

    Attributes:
        factors: The factors in the prompt, at least one; others do not count.
        min_statements: Fewest statements, at least 1.
        require_evidence: Whether every statement needs its evidence in brackets.

    Raises:
        ValueError: If there are no factors, or ``min_statements`` is below 1.
    """

    factors: tuple[str, ...]
    min_statements: int = 1
    require_evidence: bool = False

    def __post_init__(self) -> None:
        if not any(map(str.strip, self.factors)):
            raise ValueError("a check of structure needs at least one factor")
        if self.min_statements < 1:
            raise ValueError(f"min_statements must be at least 1, not {self.min_statements}")

    def fault(self, text: str) -> StructureFault | None:
        """Return the first fault of a text, or ``None`` if it is well-formed.

        The time is linear in its length.
        """
        seen: set[str] = set()
        for line in text.splitlines():
            stated = self.statement(line)
            if stated is None:
                return "a line is no statement"
            if self._begins.search(stated.preference):
                return "two statements stand in a line"
            if not _paired(sentence_of(line)):
                return "brackets do not pair"
            if self.require_evidence and stated.evidence is None:
                return "evidence is missing"
            if stated.factor in seen:
                return "a factor comes twice"
            seen.add(stated.factor)
        return "too few statements" if len(seen) < self.min_statements else None

    def statement(self, line: str) -> StatedPreference | None:
        """Read a line as a statement; ``None`` if it is none."""
        if len(line) > _LONGEST_LINE or find_list(line, "preferences") is not None:
            return None
        found = parse_preference(line, self.factors)
        return found[0] if len(found) == 1 else None

    @cached_property
    def _begins(self) -> re.Pattern[str]:
        """The beginning of a statement."""
        names = "|".join(re.escape(factor.strip()) for factor in self.factors if factor.strip())
        return re.compile(rf"(?<!\w)(?:{names})[*_]*\s?[:\N{{FULLWIDTH COLON}}]", re.IGNORECASE)


def _paired(line: str) -> bool:
    depth = 0
    for char in line:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0
