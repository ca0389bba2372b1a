"""Preference pairs: the best and the worst of the texts of one session, or why there are none.

Source: RLRF4Rec, best and worst of N samples; the filters are those that preference pairs of
close, equal or lopsided texts need.
Differs: with one target most values tie, so a tie is broken by the log-probability margin; and a
text that names the target is no better, however much it is rewarded.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agentrec.catalog import Catalog
from agentrec.graphs.preference_structure import StructureCheck
from agentrec.graphs.structure_alignment import BREAKS, StructureAlignment
from agentrec.graphs.target_leaks import leaks_target
from agentrec.preferences import (
    ChatTurn,
    PairProvenance,
    PreferencePair,
    PreferenceReward,
    PreferenceText,
)
from agentrec.sessions import Session

PairRefusal = Literal[
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
"""Why there is no pair. ``structure broken``: none of the texts is whole. ``nothing rewarded``:
fewer than two whole texts have a reward."""


_TIE = 1e-9
"""Values that differ by less differ by rounding."""


class PairingRules(BaseModel):
    """What makes two texts a pair.

    Attributes:
        min_gap: Delta: how much more the chosen text is worth at least where the values differ,
            0 to 1. One place among the first ten is worth .012 to .43. Larger: fewer pairs, each
            surer.
        min_margin: By how many nats the chosen text's margin is larger at least where the values
            tie, at least 0; ``None`` makes no pairs of ties. Set it to ``None`` with a large
            ``min_gap``, or ties pass more easily than small gaps.
        max_length_ratio: How many times as many characters as the other one text has at most, at
            least 1. Larger: models learn to write long, or short, texts.
        max_per_user: From how many sessions of one user pairs are taken at most, at least 1;
            ``None`` for all. Smaller: fewer pairs, of more different users.
        min_statements: How many of the asked factors a whole text speaks of at least, at least 1.
        require_evidence: Whether each statement of a whole text has its evidence in brackets.
            The embedded model gives none.
        most_pairs: How many pairs are made of a session at most, at least 1: the best text with the
            worst, the second best with the second worst, and so on. More: more to learn from the
            same texts, each pair closer.
        structure_pairs: How many structure pairs accompany a pair at most, 0 to 6; 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_gap: float = Field(default=0.01, ge=0, le=1)
    min_margin: float | None = Field(default=0.05, ge=0)
    max_length_ratio: float = Field(default=2.0, ge=1)
    max_per_user: int | None = Field(default=None, ge=1)
    min_statements: int = Field(default=1, ge=1)
    require_evidence: bool = False
    most_pairs: int = Field(default=1, ge=1)
    structure_pairs: int = Field(default=0, ge=0, le=len(BREAKS))

    def check(self, factors: Sequence[str]) -> StructureCheck:
        """What a whole text is, for some factors.

        Raises:
            ValueError: If no factors are given.
        """
        return StructureCheck(tuple(factors), self.min_statements, self.require_evidence)

    def alignment(self, factors: Sequence[str], seed: int = 0) -> StructureAlignment:
        """What makes the structure pairs; none where ``structure_pairs`` is 0.

        Raises:
            ValueError: If no factors are given.
        """
        check = self.check(factors)
        return StructureAlignment(check, self.structure_pairs, seed, self.max_length_ratio)


@dataclass(frozen=True)
class Refusal:
    """A session without a pair.

    Attributes:
        reason: Why, the first reason that applies.
        session_id: The session.
    """

    reason: PairRefusal
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
) -> tuple[PreferencePair, ...] | Refusal:
    """Pair the best of a session's whole texts with the worst.

    The best has the highest value, of equal ones the highest margin, of equal ones the lowest
    number; the worst is the other end of that order. The order of ``texts`` does not matter.

    Looking for a leak takes tens of milliseconds for long texts: in an event loop, call this in a
    thread.

    Args:
        session: The session, with its target.
        prompt: What the model was asked, the last turn the user's.
        texts: What it wrote, with rewards; may be none.
        rules: What makes a pair.
        factors: The factors that were asked for, at least one.
        catalog: The items, those of the session among them.
        provenance: Where the texts come from.
        shown: Ids of the items whose titles the model was shown: to cite them is no leak. By
            default the last 10 of the history.

    Returns:
        The pairs, best first, or the first reason in the order of ``PairRefusal`` why there is
        none. Of the pairs behind the first, those that a rule forbids are left out.

    Raises:
        ValueError: If a text is of another session, no factors are given, or the last turn of
            the prompt is not the user's.
    """
    for text in texts:
        if text.session_id != session.session_id:
            raise ValueError(f"a text of {text.session_id!r} came with {session.session_id!r}")
    check = rules.check(factors)
    whole = [text for text in texts if check.fault(text.text) is None]
    if len(whole) < 2:
        broken = len(texts) > 0 and not whole
        return Refusal("structure broken" if broken else "too few whole texts", session.session_id)
    rewarded = [
        _Rewarded(text.text, text.sample, text.reward) for text in whole if text.reward is not None
    ]
    if len(rewarded) < 2:
        return Refusal("nothing rewarded", session.session_id)
    # Also where all rewards are equal, first and last are two texts.
    rewarded.sort(key=lambda each: (-each.reward.value, -each.reward.margin, each.sample))
    made: dict[str, PreferencePair] = {}
    for place in range(min(rules.most_pairs, len(rewarded) // 2)):
        best, worst = rewarded[place], rewarded[-1 - place]
        reason = _too_close(best, worst, rules)
        # Last, for it takes longest.
        if reason is None and any(
            leaks_target(each.text, session, catalog, shown) for each in (best, worst)
        ):
            reason = "target title leaked"
        if reason is not None:
            if not place:
                return Refusal(reason, session.session_id)
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


def _too_close(best: _Rewarded, worst: _Rewarded, rules: PairingRules) -> PairRefusal | None:
    if _folded(best.text) == _folded(worst.text):
        return "equal texts"
    gap = best.reward.value - worst.reward.value
    if _TIE < gap < rules.min_gap:
        return "gap too small"
    margin = best.reward.margin - worst.reward.margin
    # Two texts worth exactly the same are no pair, whatever the rules allow.
    if gap <= _TIE and (rules.min_margin is None or margin <= 0 or margin < rules.min_margin):
        return "margin too small"
    shorter, longer = sorted((len(best.text), len(worst.text)))
    return "length ratio too large" if longer > rules.max_length_ratio * shorter else None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class UserCap:
    """Lets pairs of so many sessions of each user through, the first ones of a stream.

    A session passes with all its pairs, structure pairs included, and passes again when it comes
    again: a stream that is repeated after an interruption is cut alike.

    Args:
        limit: From how many sessions of one user pairs are taken, at least 1; ``None`` for all.
        kept: Pairs that are there already, in order.

    Raises:
        ValueError: If ``limit`` is below 1.
    """

    def __init__(self, limit: int | None, kept: Iterable[PreferencePair] = ()) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        self._limit = limit
        self._sessions: dict[str, set[str]] = {}
        for pair in kept:
            self.admit(pair)

    def admit(self, pair: PreferencePair) -> Refusal | None:
        """Count a pair; say why it may not be kept, or ``None`` if it may.

        A pair whose user is not known always may: nobody can tell whose it is.
        """
        if self._limit is None or not pair.user_id:
            return None
        sessions = self._sessions.setdefault(pair.user_id, set())
        if pair.session_id not in sessions and len(sessions) >= self._limit:
            return Refusal("user has enough pairs", pair.session_id)
        sessions.add(pair.session_id)
        return None
