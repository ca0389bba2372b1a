"""What numpy computes of trained networks is what torch does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.policies.ppo import numpy_inference
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.networks import ActorCritics, ActorName, HintFeatures, OfferTensors
from agentrec.policies.ppo.numpy_inference import NumpyActorCritics
from agentrec.policies.standardiser import Standardiser
from agentrec.testing.planted_sessions import PlantedRewards


def _offers(world: PlantedRewards) -> dict[str, HintOffer]:
    all_to_all = world.between(0, 20).offer()
    drawn = np.random.default_rng(0)
    some = drawn.permuted(all_to_all.candidates, axis=1)
    some[drawn.random(some.shape) < 0.3] = NO_CANDIDATE
    some[3] = NO_CANDIDATE
    none = np.full((20, 2), NO_CANDIDATE)
    return {
        "all": all_to_all,
        "some": replace(all_to_all, candidates=some),
        "one of many": replace(
            all_to_all, candidates=some[:, :1], similarities=all_to_all.similarities[:, :1]
        ),
        "one session": all_to_all.rows([7]),
        "no session": all_to_all.rows([]),
        "no candidate": replace(
            all_to_all, candidates=none, similarities=np.zeros((20, 2), np.float32)
        ),
        "no hint": HintOffer(
            all_to_all.states,
            (),
            all_to_all.vectors[:0],
            none,
            np.zeros((20, 2), np.float32),
        ),
    }


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("actor", ["scoring", "categorical"])
@pytest.mark.parametrize(
    "which", ["all", "some", "one of many", "one session", "no session", "no candidate"]
)
def test_numpy_computes_what_torch_does(
    actor: ActorName,
    members: int,
    which: str,
    small_world: PlantedRewards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer = _offers(small_world)[which]
    networks, standardiser, hints = _trained(actor, members, small_world)
    tensors = OfferTensors.of(offer, standardiser, hints)
    with torch.no_grad():
        expected = torch.softmax(networks.logits(tensors), dim=-1).mean(dim=0).numpy()
        values = networks.values(tensors).mean(dim=0).numpy()
    ours = NumpyActorCritics(networks, standardiser, hints)
    for chunk in (1024, 6):
        monkeypatch.setattr(numpy_inference, "_CHUNK", chunk)
        probabilities, predicted = ours.probabilities_and_values(offer)
        assert probabilities.dtype == predicted.dtype == np.float32
        assert probabilities == pytest.approx(expected, abs=1e-6)
        assert predicted == pytest.approx(values, abs=1e-5)
    assert not probabilities[:, 1:][~offer.present].any()
    if len(offer) > 1 and offer.present.any():
        assert probabilities.std(axis=0).max() > 0.01


@pytest.mark.parametrize("actor", ["scoring", "categorical"])
def test_where_there_is_no_hint_at_all_none_is_certain(
    actor: ActorName, small_world: PlantedRewards
) -> None:
    ours = NumpyActorCritics(*_trained(actor, 2, small_world))
    probabilities, _ = ours.probabilities_and_values(_offers(small_world)["no hint"])
    assert probabilities.tolist() == [[1, 0, 0]] * 20


def test_it_follows_the_networks(small_world: PlantedRewards) -> None:
    networks, standardiser, hints = _trained("scoring", 1, small_world)
    ours = NumpyActorCritics(networks, standardiser, hints)
    offer = _offers(small_world)["all"]
    before, _ = ours.probabilities_and_values(offer)
    others, *_ = _trained("scoring", 1, small_world, seed=5)
    networks.load_state_dict(others.state_dict())
    after, _ = ours.probabilities_and_values(offer)
    fresh, _ = NumpyActorCritics(others, standardiser, hints).probabilities_and_values(offer)
    assert np.abs(after - before).max() > 0.01
    assert after == pytest.approx(fresh)


def _trained(
    actor: ActorName, members: int, world: PlantedRewards, seed: int = 0
) -> tuple[ActorCritics, Standardiser, HintFeatures]:
    """Networks whose outputs are as far apart as after training."""
    hints = HintFeatures.fit(world.hint_ids[:4], world.vectors[:4], 3)
    standardiser = Standardiser.fit(world.states, 8)
    generators = [torch.Generator().manual_seed(seed + number) for number in range(members)]
    config = PPOConfig(hidden_sizes=(6, 5), latent_size=4, members=members)
    networks = ActorCritics(
        actor, standardiser.num_features, hints.standardiser.num_features, 4, config, generators
    )
    with torch.no_grad():
        for name, weights in networks.named_parameters():
            if "biases" in name:
                weights.normal_(generator=generators[0])
            elif "appeal" in name or "none" in name or "options" in name:
                weights.mul_(50)
    return networks, standardiser, hints
