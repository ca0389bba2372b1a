import numpy as np
import pytest
import torch

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.hints import Hint
from agentrec.policies.ppo.actors import CategoricalActor, ScoringActor
from agentrec.policies.ppo.hint_features import HintFeatures
from agentrec.policies.ppo.situations import Situations
from agentrec.policies.standardiser import Standardiser
from agentrec.testing.planted_rewards import PlantedRewards

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
    straight = actor(Situations.of(offer, standardiser, hints))
    turned_round = HintOffer.of_all(
        offer.states, offer.hints[::-1], offer.vectors[::-1], offer.states
    )
    turned = actor(Situations.of(turned_round, standardiser, hints))
    assert torch.equal(straight[..., 0], turned[..., 0])
    assert torch.equal(straight[..., 1:], turned[..., 1:].flip(-1))


def test_a_categorical_actor_gives_a_new_hint_no_chance_and_a_scoring_one_does(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    seen = Situations.of(_offer(small_world), standardiser, hints)
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
    logits = scoring(Situations.of(offer, standardiser, hints))
    assert torch.allclose(logits[..., 1], logits[..., 3], atol=1e-6)
    assert not torch.allclose(logits[..., 1], logits[..., 2], atol=1e-3)


def test_few_candidates_of_many_hints_score_as_among_all(
    small_world: PlantedRewards,
    standardiser: Standardiser,
    hints: HintFeatures,
    scoring: ScoringActor,
) -> None:
    offer = _offer(small_world)
    whole = scoring(Situations.of(offer, standardiser, hints))
    two = offer.nearest(2)
    few = scoring(Situations.of(two, standardiser, hints))
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
    logits = scoring(Situations.of(offer, standardiser, hints))
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
        Situations.of(offer, standardiser, hints)
