import torch

from agentrec.policies.ppo.layers import StackedMLP


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
