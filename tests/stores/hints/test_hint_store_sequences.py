"""Any sequence of changes, made to both stores at once: they agree, and nothing is lost."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentrec.hints import STATES, Hint, HintEvidence, HintState
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.stores.hints.opening import open_hint_store

Result = TypeVar("Result")
numbers = st.integers(0, 7)
states = st.sampled_from(STATES)


def hint(number: int, state: HintState = "admitted") -> Hint:
    return Hint(text=f"Prefer films of kind {number}.", state=state)


def vector(number: int) -> list[float]:
    # Some of them point the same way: ties have an order, too. With these and the queries below no
    # similarity lies on the edge between two values of the last decimal that is compared.
    return [1.0, (number // 2) / 2]


def without_versions(hints: list[Hint]) -> list[Hint]:
    return [each.model_copy(update={"version": 1}) for each in hints]


class ChangingAKnowledgeBase(RuleBasedStateMachine):
    """What the last revision left is written down after every step and compared ever after."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.loop = asyncio.new_event_loop()
        self.memory = InMemoryHintStore(2, embedding_model="m")
        self.seen: list[list[Hint]] = [[]]

    @initialize()
    def open(self) -> None:
        opening = open_hint_store(self.folder, 2, embedding_model="m")
        self.folder_store = self.wait(opening)

    def wait(self, what: Awaitable[Result]) -> Result:
        async def waiting() -> Result:
            return await what

        return self.loop.run_until_complete(waiting())

    def stored(self) -> list[Hint]:
        return self.wait(self.memory.all(STATES))

    def revised(self, number: int) -> None:
        """Check what a revision did to the versions, and write down what it left."""
        before, after = self.seen[-1], self.stored()
        assert number == len(self.seen)
        assert [each.hint_id for each in after[: len(before)]] == [each.hint_id for each in before]
        touched = self.wait(self.memory.revisions())[-1].hint_ids
        for old, new in zip(before, after, strict=False):
            assert new.version == old.version + (new.hint_id in touched)
            assert new == old or new.hint_id in touched
        assert all(new.version == 1 for new in after[len(before) :])
        self.seen.append(after)

    def changed(self, hints: list[Hint], note: str) -> None:
        number = self.wait(self.memory.change(hints, note))
        assert self.wait(self.folder_store.change(hints, note)) == number
        self.revised(number)

    @rule(chosen=st.lists(st.tuples(numbers, states), max_size=4))
    def add(self, chosen: list[tuple[int, HintState]]) -> None:
        hints = [hint(number, state) for number, state in chosen]
        vectors = [vector(number) for number, _ in chosen]
        answers = self.wait(self.memory.add_many(hints, vectors, "added"))
        assert self.wait(self.folder_store.add_many(hints, vectors, "added")) == answers
        known = {each.hint_id for each in self.seen[-1]}
        assert sum(answers) == len({each.hint_id for each in hints} - known)
        if any(answers):
            self.revised(len(self.seen))

    @precondition(lambda self: self.seen[-1])
    @rule(data=st.data(), state=states, gain=st.floats(-1, 1))
    def change(self, data: st.DataObject, state: HintState, gain: float) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.seen[-1]), unique_by=lambda h: h.hint_id))
        evidence = HintEvidence.of({"s1": gain, "s2": 0.0}, "m")
        new = {"state": state, "evidence": evidence, "reason": "measured"}
        self.changed([each.model_copy(update=new) for each in chosen], "measured")

    @precondition(lambda self: len(self.seen[-1]) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        kept, merged = data.draw(st.permutations(self.seen[-1]))[:2]
        gone = {"state": "retired", "merged_into": kept.hint_id}
        self.changed([merged.model_copy(update=gone), kept], "merged")

    @precondition(lambda self: self.seen[-1])
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.seen[-1]))
        self.changed([chosen.model_copy(update={"state": "retired"})], "retired")

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, len(self.seen) - 1))
        number = self.wait(self.memory.roll_back(revision))
        assert self.wait(self.folder_store.roll_back(revision)) == number
        self.revised(number)
        then, now = self.seen[revision], self.seen[-1]
        assert without_versions(now[: len(then)]) == without_versions(then)
        assert all(each.state == "retired" for each in now[len(then) :])

    @rule()
    def reopen(self) -> None:
        self.wait(self.folder_store.aclose())
        self.open()

    @rule(towards=st.integers(0, 3), limit=st.integers(1, 9), asked=st.sets(states))
    def search(self, towards: int, limit: int, asked: set[HintState]) -> None:
        query, order = [1.0, towards / 2], tuple(sorted(asked))
        found = self.wait(self.memory.search(query, limit, order))
        others = self.wait(self.folder_store.search(query, limit, order))
        assert [each.hint for each in others] == [each.hint for each in found]
        assert [each.similarity for each in others] == pytest.approx(
            [each.similarity for each in found], abs=2e-6
        )
        assert len(found) == min(limit, sum(each.state in asked for each in self.seen[-1]))

    @invariant()
    def both_remember_everything(self) -> None:
        if not hasattr(self, "folder_store"):
            return
        for store in (self.memory, self.folder_store):
            assert [self.wait(store.as_of(n)) for n in range(len(self.seen))] == self.seen
            assert self.wait(store.all(STATES)) == self.seen[-1]
        ids = [each.hint_id for each in self.seen[-1]]
        assert len(ids) == len(set(ids))
        revisions = self.wait(self.memory.revisions())
        others = self.wait(self.folder_store.revisions())
        assert [(each.number, each.note, each.hint_ids) for each in others] == [
            (each.number, each.note, each.hint_ids) for each in revisions
        ]
        assert [each.number for each in revisions] == list(range(1, len(self.seen)))

    def teardown(self) -> None:
        if hasattr(self, "folder_store"):
            self.wait(self.folder_store.aclose())
        self.loop.close()
        shutil.rmtree(self.folder)


TestSequences = ChangingAKnowledgeBase.TestCase
TestSequences.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
