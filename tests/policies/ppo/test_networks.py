import numpy as np
import pytest
import torch

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.hints import Hint
from agentrec.policies.ppo.networks import (
    CategoricalActor,
    HintFeatures,
    OfferTensors,
    ScoringActor,
    StackedMLP,
)
from agentrec.policies.standardiser import Standardiser
from agentrec.testing.planted_sessions import PlantedRewards

HIDDEN = (6,)


def _generators(count: int = 2) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@pytest.fixture
def hints(small_world: PlantedRewards) -> HintFeatures:
    return HintFeatures.fit(small_world.hint_ids[:4], small_world.vectors[:4], 3)


@pytest.fixture
def standardiser(small_world: PlantedRewards) -> Standardiser:
    return Standardiser.fit(small_world.states, 8)


@pytest.fixture
def scoring(hints: HintFeatures) -> ScoringActor:
    return ScoringActor(8, hints.standardiser.num_features, HIDDEN, 4, _generators())


def _offer(world: PlantedRewards) -> HintOffer:
    return world.between(0, 20).offer()


def test_a_categorical_logit_goes_with_the_hints_id_wherever_it_stands(
    small_world: PlantedRewards, standardiser: Standardiser, hints: HintFeatures
) -> None:
    actor = CategoricalActor(8, 4, HIDDEN, _generators())
    offer = _offer(small_world)
    straight = actor(OfferTensors.of(offer, standardiser, hints))
    turned_round = HintOffer.of_all(
        offer.states, offer.hints[::-1], offer.vectors[::-1], offer.states
    )
    turned = actor(OfferTensors.of(turned_round, standardiser, hints))
    assert torch.equal(straight[..., 0], turned[..., 0])
    assert torch.equal(straight[..., 1:], turned[..., 1:].flip(-1))


def test_a_categorical_actor_gives_a_new_hint_no_chance_and_a_scoring_one_does(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    seen = OfferTensors.of(_offer(small_world), standardiser, hints)
    categorical = CategoricalActor(8, 4, HIDDEN, _generators())(seen)
    assert torch.isneginf(categorical[..., 5]).all()
    assert torch.isfinite(categorical[..., :5]).all()
    assert torch.isfinite(scoring(seen)).all()


def test_equal_texts_score_alike_and_others_do_not(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    vectors = small_world.vectors[[0, 1, 0]]
    offered = (*small_world.hints[:2], Hint(text="Another id with the first one's vector."))
    offer = HintOffer.of_all(small_world.states[:9], offered, vectors)
    logits = scoring(OfferTensors.of(offer, standardiser, hints))
    assert torch.allclose(logits[..., 1], logits[..., 3], atol=1e-6)
    assert not torch.allclose(logits[..., 1], logits[..., 2], atol=1e-3)


def test_few_candidates_of_many_hints_score_as_among_all(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    offer = _offer(small_world)
    whole = scoring(OfferTensors.of(offer, standardiser, hints))
    two = offer.nearest(2)
    few = scoring(OfferTensors.of(two, standardiser, hints))
    assert few.shape == (2, 20, 3)
    assert torch.allclose(few[..., 0], whole[..., 0], atol=1e-6)
    wanted = whole.gather(2, 1 + torch.from_numpy(two.candidates).expand(2, -1, -1))
    assert torch.allclose(few[..., 1:], wanted, atol=1e-5)


def test_where_there_is_no_candidate_there_is_no_chance(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    offer = _offer(small_world).without(small_world.hint_ids[1:3])
    logits = scoring(OfferTensors.of(offer, standardiser, hints))
    gone = torch.from_numpy(offer.candidates == NO_CANDIDATE).expand(2, -1, -1)
    assert torch.isneginf(logits[..., 1:][gone]).all()
    assert torch.isfinite(logits[..., 1:][~gone]).all()
    chances = torch.softmax(logits, dim=-1).sum(dim=-1)
    assert np.allclose(chances.detach().numpy(), 1)


def test_vectors_of_another_embedding_are_refused(
    small_world: PlantedRewards, standardiser: Standardiser, hints: HintFeatures
) -> None:
    offer = HintOffer.of_all(small_world.states[:3], small_world.hints, small_world.vectors[:, :7])
    with pytest.raises(ValueError, match="text embedding of 12"):
        OfferTensors.of(offer, standardiser, hints)


def _stacked(*seeds: int) -> StackedMLP:
    return StackedMLP([3, 8, 2], 1.0, [torch.Generator().manual_seed(seed) for seed in seeds])


def test_each_network_is_what_it_would_be_alone() -> None:
    inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(9))
    together = _stacked(0, 1, 2)(inputs)
    assert together.shape == (3, 7, 2)
    for place, seed in enumerate((0, 1, 2)):
        assert torch.allclose(together[place], _stacked(seed)(inputs)[0], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_a_network_is_tanh_layers_and_a_linear_one() -> None:
    network = _stacked(4)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
    first, second = network.weights
    by_hand = torch.tanh(inputs @ first[0]) @ second[0]
    assert torch.allclose(network(inputs)[0], by_hand, atol=1e-6)


def test_weights_start_orthogonal_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    weight = _stacked(5).weights[0][0]
    assert torch.allclose(weight @ weight.T, 2 * torch.eye(3), atol=1e-5)
    assert torch.equal(before, torch.get_rng_state())


def test_no_number_of_one_network_enters_another() -> None:
    inputs = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(9))
    networks = _stacked(0, 1, 2)
    networks(inputs)[1].sum().backward()
    for parameter in networks.parameters():
        assert parameter.grad is not None
        assert parameter.grad[1].abs().sum() > 0
        assert parameter.grad[[0, 2]].abs().sum() == 0
