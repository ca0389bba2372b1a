"""02: rewards of one data set are computed against the base answers of another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from testing.answering import (
    WRONG,
    TitleEncoder,
    make_catalog,
    make_components,
    make_session,
    targets_of,
    world,
)

from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.catalog import Catalog, Item
from agentrec.evaluation.metrics import ndcg
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HINT = Hint(text="Prefer what is old.")
SESSIONS = [make_session(number) for number in range(5)]
FILMS = make_catalog()
GAMES = Catalog(Item(item_id=item_id, title=f"Quest {item_id}") for item_id in FILMS.item_ids)


def rank_of_target(hint: str | None, last: str) -> int | str:
    """Games are missed without the hint and second with it; films third and first."""
    if last.startswith("Quest"):
        return WRONG if hint is None else 2
    return 3 if hint is None else 1


async def test_02_two_data_sets_of_the_same_ids_are_rewarded_each_by_its_own_answers(
    tmp_path: Path,
) -> None:
    targets = targets_of(SESSIONS, FILMS) | targets_of(SESSIONS, GAMES)
    films = make_components(ScriptedChatModel())
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        model = ScriptedChatModel([world(rank_of_target, targets)] * 4 * len(SESSIONS))
        films = replace(films, catalog=FILMS, model=ModelGateway(model, "scripted", journal))
        games = replace(films, catalog=GAMES, encoder=TitleEncoder(GAMES))
        of_films, of_games = await asyncio.gather(
            *(
                fill_reward_table(SESSIONS, [HINT], components, 4, lambda: None)
                for components in (films, games)
            )
        )
    model.assert_exhausted()
    assert of_films.session_ids == of_games.session_ids
    assert np.allclose(of_films.ndcg, [[ndcg(3), ndcg(1)]] * len(SESSIONS))
    assert np.allclose(of_games.ndcg, [[0, ndcg(2)]] * len(SESSIONS))
    assert np.allclose(of_films.gains[:, 1], ndcg(1) - ndcg(3))
    assert np.allclose(of_games.gains[:, 1], ndcg(2))


async def test_02_every_session_has_its_own_base(tmp_path: Path) -> None:
    ranks = {FILMS.labels[s.items[-1]]: 1 + number for number, s in enumerate(SESSIONS)}
    answer = world(
        lambda hint, last: ranks[last] if hint is None else 1, targets_of(SESSIONS, FILMS)
    )
    components = make_components(ScriptedChatModel([answer] * 2 * len(SESSIONS)))
    table = await fill_reward_table(SESSIONS, [HINT], components, 4, lambda: None)
    table.save(tmp_path / "rewards.parquet")
    gains = RewardTable.load(tmp_path / "rewards.parquet").with_sessions(["s3", "s0"]).gains
    assert np.allclose(gains[:, 1], [1 - ndcg(4), 1 - ndcg(1)])


def test_02_a_table_is_not_read_for_sessions_that_it_does_not_hold() -> None:
    table = RewardTable(("film-1",), (HINT.hint_id,), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="no session 'game-1'"):
        table.with_sessions(["game-1"])
