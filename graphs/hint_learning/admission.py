"""Which of a session's hints enter the knowledge base, and in which state.

Source: Re2LLM (arXiv 2403.16427), non-redundancy of reflective exploration.
Differs: a hint is compared with everything that was ever stored, in words and in effects; a hint
that proved nothing is kept as a nomination, so that it is not tried again.
"""

from __future__ import annotations

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
