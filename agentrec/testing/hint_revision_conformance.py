# ruff: noqa: S101 - a suite of tests is made of assert statements
"""States, versions and revisions of a hint store as tests; part of ``HintStoreConformance``."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from agentrec.contracts import HintStore
from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEmbedding, HintEvidence, HintState

DIMENSION = 8
"""Length of the vectors with which the suite calls the store it is given."""


def towards(*entries: float) -> list[float]:
    """A vector with these first entries and zeros behind."""
    return [*entries, *([0.0] * (DIMENSION - len(entries)))]


def numbered(number: int, state: HintState = "admitted") -> Hint:
    """A hint like no other."""
    return Hint(text=f"Prefer films of kind {number}.", state=state)


def _without_versions(hints: list[Hint]) -> list[Hint]:
    return [hint.model_copy(update={"version": 1}) for hint in hints]


class HintRevisionConformance:
    """What the ``HintStore`` contract says of states, versions and revisions."""

    @pytest.mark.asyncio
    async def test_many_are_added_in_one_revision(self, store: HintStore) -> None:
        """In their order, one that comes twice once, with the vector it came with first."""
        await store.add(numbered(1), towards(1.0))
        hints = [numbered(each) for each in (0, 1, 2, 0)]
        vectors = [towards(0.0, 1.0), towards(0.0, 1.0), towards(0.0, 0.0, 1.0), towards(1.0)]
        assert await store.add_many(hints, vectors, "some more") == [True, False, True, False]
        assert await store.all() == [numbered(1), numbered(0), numbered(2)]
        assert (await store.search(towards(0.0, 1.0), 1))[0].hint == numbered(0)
        assert (await store.search(towards(1.0), 1))[0].hint == numbered(1)
        revision = (await store.revisions())[-1]
        assert (revision.number, revision.note) == (2, "some more")
        assert sorted(revision.hint_ids) == sorted((numbered(0).hint_id, numbered(2).hint_id))

    @pytest.mark.asyncio
    async def test_adding_nothing_new_is_no_revision(self, store: HintStore) -> None:
        """Neither one by one nor many at once."""
        assert await store.add_many([], []) == []
        assert await store.revisions() == []
        await store.add(numbered(0), towards(1.0))
        assert await store.add(numbered(0), towards(1.0)) is False
        assert await store.add_many([numbered(0)], [towards(0.0, 1.0)]) == [False]
        assert len(await store.revisions()) == 1

    @pytest.mark.asyncio
    async def test_a_batch_that_is_refused_stores_nothing(self, store: HintStore) -> None:
        """Whatever is wrong with it, and wherever."""
        good, foreign = numbered(0), Hint(text="Prefer old films.", namespace="other")
        for hints, vectors in (
            ([good, numbered(1)], [towards(1.0), towards(0.0)]),
            ([good, numbered(1)], [towards(1.0), [1.0]]),
            ([good, numbered(1)], [towards(1.0)]),
            ([good, foreign], [towards(1.0), towards(1.0)]),
        ):
            with pytest.raises(ValueError):  # noqa: PT011 - the contract promises no wording
                await store.add_many(hints, vectors)
        assert await store.all(STATES) == []
        assert await store.revisions() == []

    @pytest.mark.asyncio
    async def test_a_hint_of_another_namespace_is_refused(self, store: HintStore) -> None:
        """By everything that stores."""
        foreign = Hint(text="Prefer old films.", namespace="other")
        with pytest.raises(ValueError, match="namespace"):
            await store.add(foreign, towards(1.0))
        with pytest.raises(ValueError, match="namespace"):
            await store.change([foreign], "no")
        assert await store.revisions() == []

    @pytest.mark.asyncio
    async def test_a_new_hint_has_the_stores_version_and_embedding(self, store: HintStore) -> None:
        """Whatever it had elsewhere."""
        elsewhere = numbered(0).model_copy(
            update={"version": 7, "embedding": HintEmbedding(model="elsewhere", dimension=3)}
        )
        await store.add_many([elsewhere, numbered(1)], [towards(1.0), towards(1.0)])
        first, second = await store.all()
        assert (first.version, second.version) == (1, 1)
        assert first.embedding == second.embedding

    @pytest.mark.asyncio
    async def test_a_change_counts_the_version_up(self, store: HintStore) -> None:
        """State, evidence, links and reason are the new ones; text, place and vector stay."""
        await store.add_many([numbered(0), numbered(1)], [towards(1.0), towards(0.0, 1.0)])
        evidence = HintEvidence.of({"s1": 0.5, "s2": -0.25, "s3": 0.0}, "m")
        loud = numbered(0).text.upper()
        wanted = Hint(
            text=loud,
            version=40,
            embedding=HintEmbedding(model="elsewhere", dimension=3),
            evidence=evidence,
            merged_into="there",
            replaces="that",
            reason="measured",
        )
        assert await store.change([wanted], "measured") == 2
        changed = numbered(0).model_copy(
            update={
                "version": 2,
                "evidence": evidence,
                "merged_into": "there",
                "replaces": "that",
                "reason": "measured",
            }
        )
        assert await store.all() == [changed, numbered(1)]
        found = await store.search(towards(1.0), 1)
        assert found[0].hint == changed
        assert found[0].similarity == pytest.approx(1.0)
        assert await store.change([changed], "once more") == 3
        assert (await store.all())[0].version == 3

    @pytest.mark.asyncio
    async def test_a_change_of_what_is_not_stored_changes_nothing(self, store: HintStore) -> None:
        """Also not the hints before it; the same hint twice is refused, too."""
        await store.add(numbered(0), towards(1.0))
        retired = numbered(0, "retired")
        with pytest.raises(StoreError):
            await store.change([retired, numbered(1)], "no")
        with pytest.raises(ValueError, match="once"):
            await store.change([retired, retired], "no")
        assert await store.all(STATES) == [numbered(0)]
        assert len(await store.revisions()) == 1

    @pytest.mark.asyncio
    async def test_get_finds_a_hint_in_any_state(self, store: HintStore) -> None:
        """And nothing under another id."""
        for row, state in enumerate(STATES):
            hint = numbered(row, state)
            await store.add(hint, towards(1.0))
            assert await store.get(hint.hint_id) == hint
        assert await store.get("nothing") is None

    @pytest.mark.asyncio
    async def test_only_admitted_hints_are_found_unless_asked(self, store: HintStore) -> None:
        """By listing and by searching; an id in any state is not added again."""
        hints = [numbered(row, state) for row, state in enumerate(STATES * 2)]
        await store.add_many(hints, [towards(1.0, float(row)) for row in range(6)])
        assert [hint.state for hint in await store.all()] == ["admitted"] * 2
        assert [each.hint.state for each in await store.search(towards(1.0), 9)] == ["admitted"] * 2
        for asked in (("nominated",), ("retired", "admitted"), STATES, ()):
            wanted = [hint for hint in hints if hint.state in asked]
            assert await store.all(asked) == wanted
            assert [each.hint for each in await store.search(towards(1.0), 9, asked)] == wanted
        for hint in hints:
            assert (
                await store.add(hint.model_copy(update={"state": "admitted"}), towards(1)) is False
            )

    @pytest.mark.asyncio
    async def test_hints_in_other_states_take_no_places(self, store: HintStore) -> None:
        """However many of them are nearer, and where equal similarities cross the end."""
        crowd = [numbered(row, "retired") for row in range(150)]
        await store.add_many(crowd, [towards(1.0, row / 1e3) for row in range(150)])
        wanted = [numbered(1000 + row) for row in range(6)]
        await store.add_many(wanted, [towards(1.0, 1.0)] * 6)
        in_order = sorted(wanted, key=lambda hint: hint.hint_id)
        for limit in (1, 5, 6, 7):
            found = await store.search(towards(1.0), limit)
            assert [each.hint for each in found] == in_order[:limit]
        await store.change([hint.model_copy(update={"state": "retired"}) for hint in wanted], "no")
        assert await store.search(towards(1.0), 5) == []

    @pytest.mark.asyncio
    async def test_every_change_is_a_revision(self, store: HintStore) -> None:
        """Numbered from 1, in order of time, with what was done to which hints."""
        await store.add(numbered(0), towards(1.0))
        await store.add_many([numbered(1), numbered(2)], [towards(1.0)] * 2, "two more")
        assert await store.change([numbered(1, "retired")], "one less") == 3
        assert await store.roll_back(2) == 4
        revisions = await store.revisions()
        ids = [numbered(row).hint_id for row in range(3)]
        assert [each.number for each in revisions] == [1, 2, 3, 4]
        assert [each.note for each in revisions[1:3]] == ["two more", "one less"]
        assert revisions[3].note
        assert [set(each.hint_ids) for each in revisions] == [
            {ids[0]},
            {ids[1], ids[2]},
            {ids[1]},
            {ids[1]},
        ]
        assert all(each.at.utcoffset() == timedelta(0) for each in revisions)
        assert [each.at for each in revisions] == sorted(each.at for each in revisions)

    @pytest.mark.asyncio
    async def test_a_revision_can_be_seen_for_ever(self, store: HintStore) -> None:
        """All states, in the order of adding, whatever happens later."""
        seen = [await store.as_of(0)]
        assert seen == [[]]
        await store.add(numbered(0, "nominated"), towards(1.0))
        seen.append(await store.all(STATES))
        await store.add_many([numbered(1), numbered(2)], [towards(1.0)] * 2)
        seen.append(await store.all(STATES))
        await store.change([numbered(2, "retired"), numbered(0)], "changed")
        seen.append(await store.all(STATES))
        assert seen[3] == [
            numbered(0).model_copy(update={"version": 2}),
            numbered(1),
            numbered(2, "retired").model_copy(update={"version": 2}),
        ]
        await store.roll_back(0)
        assert [await store.as_of(number) for number in range(4)] == seen
        assert await store.as_of(4) == await store.all(STATES)

    @pytest.mark.asyncio
    async def test_what_never_was_cannot_be_seen_or_brought_back(self, store: HintStore) -> None:
        """A revision below 0 or above the last is refused and nothing changes."""
        await store.add(numbered(0), towards(1.0))
        for number in (-1, 2, 1000):
            with pytest.raises(StoreError):
                await store.as_of(number)
            with pytest.raises(StoreError):
                await store.roll_back(number)
        assert len(await store.revisions()) == 1

    @pytest.mark.asyncio
    async def test_rolling_back_brings_back_what_was(self, store: HintStore) -> None:
        """State, evidence and links; versions go on, later hints are retired, nothing is lost."""
        await store.add_many([numbered(0), numbered(1, "nominated")], [towards(1.0)] * 2)
        await store.change([numbered(0, "retired").model_copy(update={"merged_into": "x"})], "m")
        await store.add(numbered(2), towards(0.0, 1.0))
        assert await store.roll_back(1) == 4
        first, second, later = await store.all(STATES)
        assert first == numbered(0).model_copy(update={"version": 3})
        assert second == numbered(1, "nominated")
        assert (later.state, later.version, later.text) == ("retired", 2, numbered(2).text)
        assert [each.hint for each in await store.search(towards(1.0), 9)] == [first]
        # A roll-back can be rolled back.
        before = await store.as_of(3)
        assert await store.roll_back(3) == 5
        assert _without_versions(await store.all(STATES)) == _without_versions(before)
        assert [hint.version for hint in await store.all(STATES)] == [4, 1, 3]

    @pytest.mark.asyncio
    async def test_rolling_back_to_nothing_retires_everything(self, store: HintStore) -> None:
        """It is a revision even where there is nothing to retire, and adding goes on."""
        assert await store.roll_back(0) == 1
        assert [(each.number, each.hint_ids) for each in await store.revisions()] == [(1, ())]
        await store.add_many([numbered(0), numbered(1, "retired")], [towards(1.0)] * 2)
        assert await store.roll_back(0) == 3
        assert {hint.state for hint in await store.all(STATES)} == {"retired"}
        assert await store.all() == []
        assert await store.roll_back(0) == 4
        assert await store.roll_back(3) == 5
        assert [each.number for each in await store.revisions()] == [1, 2, 3, 4, 5]
        assert await store.add(numbered(2), towards(1.0)) is True
        assert await store.as_of(5) == await store.as_of(3)
        assert await store.search(towards(1.0), 5, ("admitted",)) != []

    @pytest.mark.asyncio
    async def test_changes_at_once_are_all_made(self, store: HintStore) -> None:
        """Each one is a revision of its own, and every version is kept."""
        await store.add(numbered(0), towards(1.0))
        numbers = await asyncio.gather(
            *(
                store.change([numbered(0).model_copy(update={"reason": str(n)})], "")
                for n in range(20)
            )
        )
        assert sorted(numbers) == list(range(2, 22))
        hint = await store.get(numbered(0).hint_id)
        assert hint is not None
        assert hint.version == 21
        versions = [(await store.as_of(number))[0] for number in range(1, 22)]
        assert [each.version for each in versions] == list(range(1, 22))
        assert {each.reason for each in versions[1:]} == {str(n) for n in range(20)}

    @pytest.mark.asyncio
    async def test_batches_at_once_store_each_hint_once(self, store: HintStore) -> None:
        """Whoever is first is answered True; no batch is torn."""
        batches = [[numbered((start + row) % 30) for row in range(10)] for start in range(0, 30, 5)]
        answers = await asyncio.gather(
            *(store.add_many(batch, [towards(1.0)] * 10, str(n)) for n, batch in enumerate(batches))
        )
        assert sum(map(sum, answers)) == 30
        stored = await store.all()
        assert len({hint.hint_id for hint in stored}) == len(stored) == 30
        for number, revision in enumerate(await store.revisions(), start=1):
            new = answers[int(revision.note)]
            assert revision.number == number
            assert len(revision.hint_ids) == sum(new)

    @pytest.mark.asyncio
    async def test_reading_while_writing_sees_whole_revisions(self, store: HintStore) -> None:
        """A listing shows what was before a change or after it, never a part of it."""
        hints = [numbered(row) for row in range(10)]
        await store.add_many(hints, [towards(1.0)] * 10)
        retired = [numbered(row, "retired") for row in range(10)]
        changes, listings = [], []
        for _ in range(5):
            for wanted in (retired, hints):
                changes.append(asyncio.ensure_future(store.change(wanted, "all of them")))
                listings.append(asyncio.ensure_future(store.all()))
        assert sorted(await asyncio.gather(*changes)) == list(range(2, 12))
        assert {len(listed) for listed in await asyncio.gather(*listings)} <= {0, 10}
