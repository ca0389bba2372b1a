"""What the shared computation promises beyond the contract."""

from datetime import UTC, datetime, timedelta

import pytest

from agentrec.hints import Hint
from agentrec.stores.hints import history as hint_history
from agentrec.stores.hints.logged_store import InMemoryHintStore


async def test_a_clock_that_is_set_back_does_not_change_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = [datetime(2030, 1, 1, tzinfo=UTC) - timedelta(hours=row) for row in range(3)]
    clock = iter(times)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            return next(clock)  # type: ignore[return-value]

    monkeypatch.setattr(hint_history, "datetime", Clock)
    store = InMemoryHintStore(2)
    for text in ("a", "b", "c"):
        await store.add(Hint(text=text), [1.0, 0.0])
    assert [revision.at for revision in await store.revisions()] == [times[0]] * 3


async def test_a_note_is_one_safe_line() -> None:
    store = InMemoryHintStore(2)
    await store.add_many([Hint(text="a")], [[1.0, 0.0]], "two\nlines \ud83c" + "x" * 400)
    (revision,) = await store.revisions()
    assert revision.note.startswith("two lines x")
    assert len(revision.note) == hint_history.MAX_NOTE_LENGTH


async def test_a_change_that_brings_nothing_back_touches_nothing() -> None:
    store = InMemoryHintStore(2)
    await store.add(Hint(text="a"), [1.0, 0.0])
    assert await store.roll_back(1) == 2
    assert [hint.version for hint in await store.all()] == [1]
    assert (await store.revisions())[1].hint_ids == ()
