"""Trying stored hints again, on a model that they were not measured on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentrec.components import Components
from agentrec.graphs.hint_admission import proven
from agentrec.graphs.hint_trials import try_on
from agentrec.hints import Hint
from agentrec.sessions import Session


@dataclass(frozen=True)
class Retest:
    """What came of trying hints again.

    Attributes:
        kept: Admitted hints that are still proven.
        retired: Admitted hints that are no more.
        admitted: Nominated hints that are now.
    """

    kept: tuple[Hint, ...] = ()
    retired: tuple[Hint, ...] = ()
    admitted: tuple[Hint, ...] = ()


async def retest(
    components: Components, probes_of: Callable[[Hint], Sequence[Session]], everything: bool = False
) -> Retest:
    """Measure hints again and let the evidence decide what state they are in.

    An admitted hint that does not help this model is retired; a nominated one that does is
    admitted while there is room. One revision of the knowledge base, so one roll-back undoes it.

    Args:
        components: The parts; their model is the one that is measured.
        probes_of: The training sessions to try a hint on, those that matter most first.
        everything: Whether to measure also what was measured on this model already.

    Raises:
        ModelCallError: If a call failed for good; then nothing is changed, and the next attempt
            pays only for what was not answered.
    """
    store, model = components.hint_store, components.model.name
    stored = [
        hint
        for hint in await store.all(("admitted", "nominated"))
        if everything or hint.evidence is None or hint.evidence.model != model
    ]
    measured = await asyncio.gather(*(try_on(hint, probes_of(hint), components) for hint in stored))
    room = components.max_hints - len(await store.all())
    kept, retired, admitted, changed = [], [], [], []
    for hint, evidence in zip(stored, measured, strict=True):
        if evidence is None:
            continue
        new = hint.model_copy(update={"evidence": evidence})
        reason = proven(new, components)
        if hint.state == "admitted" and reason is not None:
            new = new.model_copy(
                update={"state": "retired", "reason": f"on {model}: {reason}"[:300]}
            )
            retired.append(new)
            room += 1
        elif hint.state == "admitted":
            kept.append(new)
        elif reason is None and room > 0:
            new = new.model_copy(update={"state": "admitted", "reason": ""})
            admitted.append(new)
            room -= 1
        changed.append(new)
    if changed:
        await store.change(changed, f"tried again on {model}"[:300])
    return Retest(tuple(kept), tuple(retired), tuple(admitted))
