"""Looking for unreachable objects less often, while very many live at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATED = 100_000
"""How many more objects are made than freed before the next search: what a hundred sessions under
way hold. At Python's 700 every session is searched several times while it waits for its answer."""


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Search seldom for objects that only refer to each other, and leave out those that are there.

    With hundreds of sessions under way these searches took a tenth of the processor's time and
    found next to nothing. For programs of their own: it holds for the whole process. What was set
    before is set again at the end; where searches are switched off they stay so.
    """
    before = gc.get_threshold()
    is_frozen = gc.get_freeze_count() > 0
    if before[0]:
        gc.set_threshold(max(before[0], _ALLOCATED), *before[1:])
    if not is_frozen:
        gc.freeze()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not is_frozen:
            gc.unfreeze()
