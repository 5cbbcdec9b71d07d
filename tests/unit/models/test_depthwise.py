"""The Gram weight gradient against the stock convolution, a naive loop and finite differences."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from components.models.depthwise import GramDepthwise, replace_depthwise, weight_gradient

SHAPES = [  # B, C, (H, W), kernel: whole maps, odd sides, tiles with and without a rest
    (3, 5, (7, 7), (7, 7)),
    (2, 3, (1, 2), (7, 7)),
    (2, 4, (5, 9), (3, 5)),
    (1, 3, (16, 16), (7, 7)),
    (2, 3, (17, 16), (7, 7)),
    (2, 2, (19, 23), (5, 3)),
    (1, 2, (24, 32), (7, 1)),
]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pair(channels: int, kernel: tuple[int, int], bias: bool = True) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The stock layer and ours, with the same weights."""
    torch.manual_seed(0)
    around = tuple(side // 2 for side in kernel)
    stock = nn.Conv2d(channels, channels, kernel, padding=around, groups=channels, bias=bias)
    ours = copy.deepcopy(stock)
    assert replace_depthwise(ours) == 1
    assert isinstance(ours, GramDepthwise)
    return stock, ours


def gradients(layer: nn.Conv2d, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output, and the gradients of a loss in which every output counts differently."""
    images = images.clone().requires_grad_()
    output = layer(images)
    output.backward(draw(*output.shape, seed=9, dtype=output.dtype))
    return {"output": output.detach(), "images": images.grad} | {n: w.grad for n, w in layer.named_parameters()}


def error(ours: torch.Tensor, stock: torch.Tensor) -> float:
    return float((ours.double() - stock.double()).norm() / stock.double().norm())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("count", "channels", "size", "kernel"), SHAPES)
def test_every_gradient_is_the_stock_layers_in_float32(count, channels, size, kernel, layout):
    stock, ours = pair(channels, kernel)
    images = draw(count, channels, *size).to(memory_format=layout)
    expected, found = gradients(stock, images), gradients(ours, images)
    assert set(found) == set(expected) == {"output", "images", "weight", "bias"}
    assert max(error(found[name], expected[name]) for name in expected) < 1e-5
    assert torch.equal(found["output"], expected["output"])


@pytest.mark.parametrize(("count", "channels", "size", "kernel"), SHAPES)
def test_weight_gradient_is_the_sum_over_all_places(count, channels, size, kernel):
    """Also for maps whose float32 gradient the layer leaves to the stock convolution."""
    images, gradient = (draw(count, channels, *size, seed=seed, dtype=torch.float64) for seed in (1, 2))
    padded = nn.functional.pad(images, (kernel[1] // 2,) * 2 + (kernel[0] // 2,) * 2)
    expected = torch.zeros(channels, 1, *kernel, dtype=torch.float64)
    for down, across in itertools.product(range(kernel[0]), range(kernel[1])):
        seen = padded[:, :, down : down + size[0], across : across + size[1]]
        expected[:, 0, down, across] = (seen * gradient).sum(dim=(0, 2, 3))
    torch.testing.assert_close(weight_gradient(images, gradient, *kernel), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size", "kernel"), [((3, 4), (7, 7)), ((5, 3), (3, 3)), ((2, 13), (5, 3))])
def test_gradcheck_in_double(size, kernel):
    _, ours = pair(2, kernel)
    ours.double()
    images = draw(2, 2, *size, dtype=torch.float64).requires_grad_()

    def apply(images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, (images,))

    assert torch.autograd.gradcheck(apply, (images, ours.weight, ours.bias))


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 20)])
def test_under_bfloat16_autocast_it_is_as_near_to_the_truth_as_the_stock_layer(size):
    stock, ours = pair(6, (7, 7))
    images = draw(4, 6, *size).to(memory_format=torch.channels_last)
    truth = gradients(copy.deepcopy(stock).double(), images.double())
    with torch.autocast("cpu", torch.bfloat16):
        output = ours(images)
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    found = [_autocast_gradients(layer, images) for layer in (ours, stock)]
    for name in ("weight", "bias", "images"):
        assert found[0][name].dtype == torch.float32
        assert error(found[0][name], truth[name]) < max(2 * error(found[1][name], truth[name]), 2**-8)


def _autocast_gradients(layer: nn.Conv2d, images: torch.Tensor) -> dict[str, torch.Tensor]:
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images)
    output.backward(draw(*output.shape, seed=9).to(output.dtype))
    return {"images": images.grad} | {name: weight.grad for name, weight in layer.named_parameters()}


def test_the_same_pass_gives_the_same_bits():
    _, ours = pair(8, (7, 7))
    images = draw(4, 8, 20, 20).to(memory_format=torch.channels_last)
    first, second = _autocast_gradients(copy.deepcopy(ours), images), _autocast_gradients(ours, images)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_a_bias():
    stock, ours = pair(3, (3, 3), bias=False)
    images = draw(2, 3, 6, 6)
    expected, found = gradients(stock, images), gradients(ours, images)
    assert error(found["weight"], expected["weight"]) < 1e-5


def test_what_does_not_learn_gets_no_gradient():
    _, ours = pair(3, (3, 3))
    ours.requires_grad_(False)
    assert set(gradients(ours, draw(2, 3, 6, 6))) == {"output", "images", "weight", "bias"}
    assert ours.weight.grad is None
    ours.weight.requires_grad_(True)
    ours(draw(2, 3, 6, 6)).sum().backward()
    assert ours.bias.grad is None
    assert ours.weight.grad is not None


def test_only_what_it_can_stand_for_is_replaced():
    stays = [
        nn.Conv2d(4, 4, 3, padding=1),  # dense
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, stride=2),
        nn.Conv2d(4, 4, 3, padding=2, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 4, padding=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="reflect"),
        nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(4, 4, 1, groups=4),
    ]
    net = nn.Sequential(*stays, nn.Conv2d(4, 4, 5, padding="same", groups=4))
    names = list(net.state_dict())
    assert replace_depthwise(net) == 1
    assert [type(layer) for layer in net] == [nn.Conv2d] * len(stays) + [GramDepthwise]
    assert list(net.state_dict()) == names
    assert replace_depthwise(net) == 0


def test_a_state_dict_goes_both_ways():
    stock, ours = pair(4, (7, 7))
    fresh = pair(4, (7, 7))[1]
    fresh.load_state_dict({name: tensor + 1 for name, tensor in stock.state_dict().items()})
    stock.load_state_dict(fresh.state_dict())
    assert torch.equal(stock.weight, ours.weight + 1)
