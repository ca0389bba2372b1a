# ruff: noqa: S101 - a suite of tests is made of assert statements
"""Conformance tests for candidate generators. Needs pytest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.sessions import Session

STRANGER = "an item that no catalogue has"


class CandidateGeneratorConformance:
    """Tests every sentence of the ``CandidateGenerator`` contract.

    Subclass it in a test module and give it two fixtures::

        class TestMyGenerator(CandidateGeneratorConformance):
            @pytest.fixture
            def generator(self):
                return MyGenerator(...)

            @pytest.fixture
            def item_ids(self):
                return [...]  # the generator's whole catalogue, at least 12 items
    """

    @pytest.fixture
    def sessions(self, item_ids: Sequence[str]) -> list[Session]:
        """Histories of one to eight items, some with unknown or repeated items."""
        lot = np.random.default_rng(5)
        histories = []
        for length in (1, 2, 3, 5, 8, 8):
            indices = lot.permutation(len(item_ids))[:length].tolist()
            histories.append(tuple(item_ids[index] for index in indices))
        histories += [
            (STRANGER,),
            (*histories[2], STRANGER),
            (STRANGER, *histories[3]),
            histories[1] * 3,
        ]
        return [
            Session(session_id=f"s{number}", items=items) for number, items in enumerate(histories)
        ]

    def test_each_session_gets_that_many_different_items_of_the_catalogue(
        self,
        generator: CandidateGenerator,
        sessions: Sequence[Session],
        item_ids: Sequence[str],
    ) -> None:
        """For every session, also with unknown items."""
        for count in (1, 4):
            found = generator.generate_many(sessions, count)
            assert len(found) == len(sessions)
            for items in found:
                assert len(items) == len(set(items)) == count
                assert set(items) <= set(item_ids)

    def test_nothing_of_the_history_comes_back(
        self,
        generator: CandidateGenerator,
        sessions: Sequence[Session],
        item_ids: Sequence[str],
    ) -> None:
        """A larger count than the catalogue returns all other items, each once."""
        for session, items in zip(
            sessions, generator.generate_many(sessions, len(item_ids) + 5), strict=True
        ):
            assert sorted(items) == sorted(set(item_ids) - set(session.items))

    def test_fewer_are_the_beginning_of_more(
        self, generator: CandidateGenerator, sessions: Sequence[Session]
    ) -> None:
        """The likeliest come first, for every count."""
        few, more = (generator.generate_many(sessions, count) for count in (2, 4))
        assert few == [items[:2] for items in more]

    def test_no_session_depends_on_the_others(
        self, generator: CandidateGenerator, sessions: Sequence[Session]
    ) -> None:
        """Together, one by one, in reverse order, and repeated: the same."""
        together = generator.generate_many(sessions, 3)
        assert [generator.generate_many([each], 3)[0] for each in sessions] == together
        assert generator.generate_many(sessions[::-1], 3) == together[::-1]
        assert generator.generate_many(sessions, 3) == together

    def test_neither_target_nor_candidates_are_looked_at(
        self,
        generator: CandidateGenerator,
        sessions: Sequence[Session],
        item_ids: Sequence[str],
    ) -> None:
        """Target and candidates do not change the result."""
        blind = generator.generate_many(sessions, 3)
        for target in item_ids[:3]:
            seeing = [
                each.model_copy(update={"target": target, "candidates": tuple(item_ids[:6])})
                for each in sessions
            ]
            assert generator.generate_many(seeing, 3) == blind

    def test_no_sessions_get_no_items(self, generator: CandidateGenerator) -> None:
        """An empty batch is no error."""
        assert generator.generate_many([], 3) == []

    @pytest.mark.parametrize("count", [0, -1])
    def test_a_count_below_one_is_refused(
        self, generator: CandidateGenerator, sessions: Sequence[Session], count: int
    ) -> None:
        """Also without sessions."""
        for some in (sessions, []):
            with pytest.raises(ValueError, match="at least 1"):
                generator.generate_many(some, count)
