"""What every backbone has to be: causal, blind to padding, seeded."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from agentrec.policies.sequential.backbones import BACKBONES, PADDING, Backbone
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind

NUM_ITEMS = 30
CONFIG = BackboneConfig(dim=8, layers=2, heads=2, max_length=12)


@pytest.fixture
def backbone(kind: BackboneKind) -> Backbone:
    made = BACKBONES[kind](NUM_ITEMS, CONFIG, torch.Generator().manual_seed(0))
    # Large parameters, so that whatever depends on something shows it.
    with torch.no_grad():
        for one in made.parameters():
            one.add_(torch.empty_like(one).normal_(generator=torch.Generator().manual_seed(2)))
    return made


@pytest.fixture
def items() -> torch.Tensor:
    return torch.randint(1, 1 + NUM_ITEMS, (5, 7), generator=torch.Generator().manual_seed(1))


def test_shapes(backbone: Backbone, items: torch.Tensor) -> None:
    assert backbone(items).shape == (5, 7, 8)
    assert backbone(items[:, :1]).shape == (5, 1, 8)
    assert backbone(items[:0]).shape == (0, 7, 8)
    assert backbone.item_vectors.shape == (1 + NUM_ITEMS, 8)


def test_what_comes_later_changes_nothing_before(backbone: Backbone, items: torch.Tensor) -> None:
    before = backbone(items)
    for place in range(7):
        changed = items.clone()
        changed[:, place] = changed[:, place] % NUM_ITEMS + 1
        after = backbone(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place:], before[:, place:]).all(dim=-1).any()
        # Nor does it matter whether anything came later at all.
        torch.testing.assert_close(backbone(items[:, : place + 1]), before[:, : place + 1])


def test_padding_changes_nothing(backbone: Backbone, items: torch.Tensor) -> None:
    before = backbone(items)
    for width in (1, 5):
        padded = torch.cat([torch.full((5, width), PADDING), items], dim=1)
        after = backbone(padded)
        torch.testing.assert_close(after[:, width:], before)
        assert not after[:, :width].any()
    # A row is not changed by how much the others are padded.
    mixed = items.clone()
    mixed[0, :4] = PADDING
    mixed[1, :] = PADDING
    after = backbone(mixed)
    torch.testing.assert_close(after[0, 4:], backbone(items[:1, 4:])[0])
    torch.testing.assert_close(after[2:], before[2:])
    assert not after[1].any()


def test_padding_is_never_trained(backbone: Backbone, items: torch.Tensor) -> None:
    items[:, :3] = PADDING
    backbone(items).sum().backward()
    gradient = backbone.item_vectors.grad
    assert gradient is not None
    assert not gradient[PADDING].any()
    assert gradient[items[:, 3:].unique()].any(dim=1).all()


def test_chance_comes_from_the_generator_alone(kind: BackboneKind, items: torch.Tensor) -> None:
    before = torch.get_rng_state()
    first, second, other = (
        BACKBONES[kind](NUM_ITEMS, CONFIG, torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    drawn = [
        net(items, torch.Generator().manual_seed(draw))
        for net, draw in ((first, 5), (second, 5), (first, 6))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(first(items), second(items))
    assert not torch.equal(first(items), other(items))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_parameter_counts(backbone: Backbone, items: torch.Tensor) -> None:
    (backbone(items) ** 3).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_heads_have_to_share_the_vector() -> None:
    with pytest.raises(ValidationError, match="dim 10 is not divisible by 4 heads"):
        BackboneConfig(dim=10, heads=4)
