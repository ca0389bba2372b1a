"""01: the policy never acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from testing.answering import (
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    world,
)

from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.policies.policy_kinds import load_policy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.planted_sessions import PlantedRewards
from agentrec.testing.scripted_chat_model import ScriptedChatModel


def test_01_the_greedy_policy_gives_sessions_the_hints_that_suit_them(
    trained: PPOHintPolicy, held_out_world: PlantedRewards
) -> None:
    chosen = trained.choose(held_out_world.offer()).hint_ids
    best_single = held_out_world.expected_gains.mean(axis=0).max()
    assert len({*chosen} - {None}) >= 4
    assert chosen.count(None) < len(chosen) / 2
    # "No hint" for everybody gains 0, and so would the best single hint at best.
    assert best_single == 0
    assert held_out_world.gains_of(chosen).mean() > 0.5 * held_out_world.optimal_gain


def test_01_sampling_follows_the_session_and_is_not_uniform(
    trained: PPOHintPolicy, held_out_world: PlantedRewards
) -> None:
    offer = held_out_world.offer()
    probabilities = trained.probabilities(offer)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.max(axis=1) > 0.5).mean() > 0.5
    assert len(set(probabilities.argmax(axis=1).tolist())) >= 4
    drawn = trained.sampling(0).choose(offer)
    taken = np.take_along_axis(probabilities, drawn.options[:, None], axis=1)[:, 0]
    assert np.allclose(np.exp(drawn.log_probabilities), taken, atol=1e-5)
    uniform = held_out_world.expected_gains.mean()
    assert (
        held_out_world.gains_of(drawn.hint_ids).mean() > uniform + 0.5 * held_out_world.optimal_gain
    )


def test_01_a_policy_read_back_from_its_files_acts_as_the_one_that_was_trained(
    trained: PPOHintPolicy, held_out_world: PlantedRewards, tmp_path: Path
) -> None:
    trained.save(tmp_path / "policy")
    released = load_policy(tmp_path / "policy")
    offer = held_out_world.offer()
    assert released.choose(offer).hint_ids == trained.choose(offer).hint_ids


class _PlantedEncoder:
    """Gives each session the planted state of its number."""

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        self._vectors = vectors

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        row: npt.NDArray[np.float32] = self._vectors[int(session.session_id.removeprefix("s"))]
        return row

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.stack([self.state(session) for session in sessions])

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        return self.state(session)

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return self.states(sessions)


@pytest.mark.parametrize("with_hint", [True, False])
async def test_01_what_the_policy_chooses_is_what_the_model_is_told(
    with_hint: bool, trained: PPOHintPolicy, held_out_world: PlantedRewards
) -> None:
    store = InMemoryHintStore(held_out_world.vectors.shape[1])
    await store.add_many(held_out_world.hints, held_out_world.vectors.tolist())
    chosen = trained.choose(held_out_world.offer()).hint_ids
    number = chosen.index(held_out_world.hint_ids[0] if with_hint else None)
    session = make_session(0, session_id=f"s{number}")
    model = ScriptedChatModel([world(lambda *_: 1, targets_of([session], make_catalog()))])
    components = replace(
        make_components(model),
        encoder=_PlantedEncoder(held_out_world.states),
        hint_store=store,
        hint_policy=trained,
    )
    await build_recommendation_graph().ainvoke({"session": session}, context=components)
    (prompt,) = prompts_of(model, "rank")
    shown = {hint.hint_id for hint in held_out_world.hints if hint.text in prompt}
    assert shown == ({held_out_world.hint_ids[0]} if with_hint else set())
