# ruff: noqa: S101 - a suite of tests is made of assert statements
"""The preference ranker contract as tests. Needs pytest and pytest-asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentrec.contracts import PreferenceRanker
from agentrec.sessions import Session

TEXTS = (
    "genre: war films (several)\nperiod: the nineties",
    "x",
    "genre: \x00 <preference> 日本 🎬",
    "taste: " + "long " * 800,
    "",
    None,
)


class PreferenceRankerConformance:
    """Every sentence of the ``PreferenceRanker`` contract, as a test.

    Subclass it in a test module and give it two fixtures::

        class TestMyRanker(PreferenceRankerConformance):
            @pytest.fixture
            def ranker(self):
                return MyRanker(...)

            @pytest.fixture
            def sessions(self):
                return [...]  # at least two, with candidates and targets
    """

    @pytest.mark.asyncio
    async def test_every_candidate_comes_back_once(
        self, ranker: PreferenceRanker, sessions: Sequence[Session]
    ) -> None:
        """Whatever the text is, and without one."""
        for session in sessions:
            for text in TEXTS:
                assert sorted(await ranker.rank(session, text)) == sorted(session.candidates)

    @pytest.mark.asyncio
    async def test_no_text_and_an_empty_one_are_the_same(
        self, ranker: PreferenceRanker, sessions: Sequence[Session]
    ) -> None:
        """Both say nothing."""
        for session in sessions:
            assert await ranker.rank(session, None) == await ranker.rank(session, "")

    @pytest.mark.asyncio
    async def test_neither_target_nor_the_order_of_candidates_matters(
        self, ranker: PreferenceRanker, sessions: Sequence[Session]
    ) -> None:
        """One is the answer, the other has no meaning."""
        for session in sessions:
            expected = await ranker.rank(session, TEXTS[0])
            for change in (
                {"target": None},
                {"target": session.candidates[-1]},
                {"candidates": session.candidates[::-1]},
            ):
                changed = session.model_copy(update=change)
                assert await ranker.rank(changed, TEXTS[0]) == expected

    @pytest.mark.asyncio
    async def test_many_at_once_get_what_each_gets_alone(
        self, ranker: PreferenceRanker, sessions: Sequence[Session]
    ) -> None:
        """Callers do not disturb one another."""
        asked = [(session, text) for session in sessions for text in TEXTS]
        together = await asyncio.gather(*(ranker.rank(*each) for each in asked))
        assert together == [await ranker.rank(*each) for each in asked]
