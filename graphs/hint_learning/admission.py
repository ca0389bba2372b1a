"""Which of a session's hints enter the knowledge base, and in which state.

Source: Re2LLM (arXiv 2403.16427), non-redundancy of reflective exploration.
Differs: a hint is compared with everything that was ever stored, in words and in effects; a hint
that proved nothing is kept as a nomination, so that it is not tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentrec.components import Components
from agentrec.graphs.hint_checks.rejection import HintRejectionReason
from agentrec.graphs.hint_learning.arbiter import RuleArbiter
from agentrec.hints import Hint, HintState

FEWEST_COMMON = 16
"""Two hints need this many probe sessions in common before their effects are compared."""

_COMPARED = 4
_SETTLED: tuple[HintState, ...] = ("admitted", "retired")


@dataclass(frozen=True)
class HintRejection:
    """A proposal that was not admitted, and why."""

    text: str
    reason: HintRejectionReason


@dataclass
class Admission:
    """The result of admitting a session's hints.

    Attributes:
        stored: Hints that were admitted, as they were stored.
        rejected: The others, with the reason.
        admitted_before: Number of this session's hints that an earlier attempt admitted.
    """

    stored: list[Hint] = field(default_factory=list)
    rejected: list[HintRejection] = field(default_factory=list)
    admitted_before: int = 0


async def is_known(hint: Hint, vector: Sequence[float], components: Components) -> bool:
    """Return whether a hint, or one nearly equal to it, was ever admitted or merged.

    Once true it stays true, so it can be asked before the session's turn, to save trials. A mere
    nomination gets another chance with every session that it repairs.
    """
    known = await components.hint_store.get(hint.hint_id)
    if _is_settled(known):
        return True
    nearest = await components.hint_store.search(vector, 1, _SETTLED)
    return bool(nearest) and nearest[0].similarity >= components.hint_similarity


def evidence_against(hint: Hint, components: Components) -> HintRejectionReason | None:
    """Return why its evidence does not admit a hint; ``None`` if it does, or there is none."""
    if hint.evidence is None:
        return None
    if hint.evidence.low <= 0:
        return "does not help on other sessions"
    if hint.evidence.harm_rate > components.max_harm_rate:
        return "harms too many sessions"
    return None


async def admit_hints(
    hints: Sequence[Hint],
    session_id: str,
    components: Components,
    ended: bool,
    known_ids: Collection[str] = (),
    vectors: Mapping[str, Sequence[float]] | None = None,
) -> Admission:
    """Admit a session's nominated hints. Call it when it is the session's turn.

    A repeated call, after an interruption at any moment, leads to the same knowledge base.

    Args:
        hints: Hints that repaired the session's error, with their evidence, in order.
        session_id: The session.
        components: The components.
        ended: Whether exploring has ended; then nothing is admitted.
        known_ids: Ids of hints that were known already and therefore have no evidence.
        vectors: Text vectors by text, ``[dimension]`` each; missing ones are embedded.

    Raises:
        ModelCallError: If the arbiter asks a model and the call failed for good.
    """
    admission = Admission()
    if not hints:
        return admission
    embedded = dict(vectors or {})
    missing = list(dict.fromkeys(hint.text for hint in hints if hint.text not in embedded))
    if missing:
        made = await components.embeddings.aembed_documents(missing)
        embedded |= zip(missing, made, strict=True)
    for hint in hints:
        vector = embedded[hint.text]
        reason: HintRejectionReason | None
        known = await components.hint_store.get(hint.hint_id)
        if known is not None and _is_of(known, session_id):
            admission.admitted_before += _was_admitted(known)
        if ended:
            reason = "exploring had ended"
        elif (
            hint.hint_id in known_ids
            or _is_settled(known)
            or await _is_paraphrase(hint, vector, components)
        ):
            reason = "says what a stored hint says"
        elif len(await components.hint_store.all()) >= components.max_hints:
            reason = "knowledge base is full"
        else:
            reason = await _store(hint, vector, components, admission)
        if reason is not None:
            admission.rejected.append(HintRejection(hint.text, reason))
    return admission


async def _store(
    hint: Hint, vector: Sequence[float], components: Components, admission: Admission
) -> HintRejectionReason | None:
    """Store a hint as admitted, merged or nominated, as its evidence and effects decide."""
    store = components.hint_store
    reason = evidence_against(hint, components)
    if reason is not None:
        # Only added, never changed: a nomination keeps its first evidence, whoever resumes.
        nominated = hint.model_copy(update={"state": "nominated", "reason": reason})
        await store.add_many([nominated], [vector], f"nominated: {reason}")
        return reason
    twin = _twin(hint, await store.all(), components.effect_correlation)
    if twin is not None and not _is_better(hint, twin):
        merged = {
            "state": "retired",
            "merged_into": twin.hint_id,
            "reason": "does what another hint does",
        }
        await _put(hint.model_copy(update=merged), vector, components, "merged into a better one")
        return "does what another hint does"
    if twin is not None:
        # The first of two steps: after an interruption between them, the next attempt finds no
        # twin and adds the hint.
        retired = {
            "state": "retired",
            "merged_into": hint.hint_id,
            "reason": "does what a better hint does",
        }
        await store.change([twin.model_copy(update=retired)], "merged into a better one")
    admitted = hint.model_copy(update={"state": "admitted", "reason": ""})
    await _put(admitted, vector, components, "admitted")
    admission.stored.append(await store.get(hint.hint_id) or admitted)
    return None


async def _put(hint: Hint, vector: Sequence[float], components: Components, note: str) -> None:
    """Add a hint, or change what was a nomination."""
    store = components.hint_store
    if await store.get(hint.hint_id) is None:
        await store.add_many([hint], [vector], note)
    else:
        await store.change([hint], note)


def _is_settled(known: Hint | None) -> bool:
    return known is not None and known.state in _SETTLED


async def _is_paraphrase(hint: Hint, vector: Sequence[float], components: Components) -> bool:
    """Whether a stored hint means the same: by vector where that is clear, else by the arbiter."""
    arbiter = components.hint_arbiter or RuleArbiter()
    for near in await components.hint_store.search(vector, _COMPARED, _SETTLED):
        if near.similarity >= components.hint_similarity:
            return True
        if near.similarity < components.hint_grey_zone:
            return False
        if await arbiter.same(near.hint.text, hint.text):
            return True
    return False


def _twin(hint: Hint, admitted: Sequence[Hint], threshold: float) -> Hint | None:
    """The admitted hint whose effects are most like this one's, if they are alike enough."""
    alike = [(effect_correlation(hint, other), other) for other in admitted]
    found = [(value, other) for value, other in alike if value is not None and value >= threshold]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def effect_correlation(first: Hint, second: Hint) -> float | None:
    """Return the correlation (Pearson, -1 to 1) of two hints' effects on common sessions.

    Returns:
        ``None`` where fewer than sixteen sessions are common, or one hint changed none of them.
    """
    if first.evidence is None or second.evidence is None:
        return None
    one, other = first.evidence.effects, second.evidence.effects
    common = sorted(one.keys() & other.keys())
    if len(common) < FEWEST_COMMON:
        return None
    gains = np.array([[one[name], other[name]] for name in common])
    if (gains.std(axis=0) < 1e-9).any():
        return None
    return float(np.corrcoef(gains.T)[0, 1])


def _is_better(hint: Hint, other: Hint) -> bool:
    low, others = (h.evidence.low if h.evidence else 0.0 for h in (hint, other))
    return low > others


def _is_of(hint: Hint, session_id: str) -> bool:
    return hint.provenance is not None and hint.provenance.session_id == session_id


def _was_admitted(hint: Hint) -> bool:
    """Whether a hint was admitted in its turn: one that was merged at once has another reason."""
    return hint.state == "admitted" or hint.reason == "does what a better hint does"


@dataclass(frozen=True)
class StoppingRules:
    """When to stop looking for hints. A rule that is ``None`` never stops.

    The rules look at sessions in their order, whatever finishes first, so that the same seed leads
    to the same knowledge base.

    Attributes:
        max_admitted: Admitted hints, at least 1.
        max_questions: Questions about the explored sessions, at least 1: rankings, reflections, and
            each hint on its own session. Trials on other sessions come on top; the budget of the
            gateway bounds all.
        patience: Reflections in a row without an admission, at least 1.

    Raises:
        ValueError: If a number is below 1.
    """

    max_admitted: int | None = None
    max_questions: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_admitted", "max_questions", "patience"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")


@dataclass(frozen=True)
class TurnOutcome:
    """The outcome of a session.

    Attributes:
        questions: Its questions, as ``StoppingRules`` counts them.
        reflected: Whether there was an error to reflect on.
        admitted: Hints that it added to the knowledge base.
    """

    questions: int = 0
    reflected: bool = False
    admitted: int = 0


class AdmissionTurns:
    """Gives sessions their turns, so that admissions do not depend on which run finishes first.

    Args:
        session_ids: The sessions in order; a session that is not listed never waits.
        rules: When to stop.
    """

    def __init__(self, session_ids: Sequence[str] = (), rules: StoppingRules | None = None) -> None:
        # A repeated id has one turn: a second one would never end.
        order = dict.fromkeys(session_ids)
        self._positions = {session_id: position for position, session_id in enumerate(order)}
        self._rules = rules or StoppingRules()
        self._done: dict[int, TurnOutcome] = {}
        self._next = 0
        self._changed = asyncio.Event()
        self._admitted = 0
        self._fruitless = 0
        self.questions = 0
        """Questions of the sessions whose turn is over."""
        self.ended: str | None = None
        """Which rule applied, in words; later sessions admit nothing."""

    async def wait(self, session_id: str) -> None:
        """Wait until every earlier session is done."""
        position = self._positions.get(session_id)
        while position is not None and self._next < position:
            changed = self._changed
            await changed.wait()

    def done(self, session_id: str, outcome: TurnOutcome | None = None) -> None:
        """Mark a session as done, whether or not it admitted anything."""
        position = self._positions.get(session_id)
        if position is None or position in self._done:
            return
        self._done[position] = outcome or TurnOutcome()
        while self._next in self._done:
            self._count(self._done[self._next])
            self._next += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self, outcome: TurnOutcome) -> None:
        if self.ended is not None:
            return
        self.questions += outcome.questions
        self._admitted += outcome.admitted
        if outcome.reflected:
            self._fruitless = 0 if outcome.admitted else self._fruitless + 1
        rules = self._rules
        if rules.max_admitted is not None and self._admitted >= rules.max_admitted:
            self.ended = f"{self._admitted} hints admitted"
        elif rules.max_questions is not None and self.questions >= rules.max_questions:
            self.ended = f"{self.questions} questions asked"
        elif rules.patience is not None and self._fruitless >= rules.patience:
            self.ended = f"no admission in {self._fruitless} reflections"
