"""Depthwise convolution whose weight gradient is a matrix product: on a CPU it was most of a ConvNeXt's step.

Each channel is a convolution of its own, and oneDNN computes its k·k weight gradients one by one. Here a channel's
images X (R, P) and output gradients Y (R, Q), R of them with P and Q places, give the Gram matrix XᵀY (P, Q): what
each place in the image says about each place in the output. Its entries that lie equally far apart belong to one
weight, and their sum is its gradient. That is more arithmetic, all of it where CPUs are fastest. The image gradient
is the forward convolution with the kernel turned by half a turn.

B batch, C channels, H W the map's height and width, h w the kernel's.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv2d_weight

WHOLE = 256
"""Places of the largest map that gives one Gram matrix; larger maps are cut into tiles."""

EXACT = 144
"""Places of the largest map where it pays in float32, which CPUs multiply 6 to 8 times slower than bfloat16."""

TILE = 8
"""Side of a tile."""


class GramDepthwise(nn.Conv2d):
    """A depthwise `nn.Conv2d` with stride 1 and output as large as its input; same weights, names and results.

    >>> layer = GramDepthwise(4, 4, kernel_size=7, padding=3, groups=4)
    >>> layer(torch.zeros(2, 4, 9, 9)).shape
    torch.Size([2, 4, 9, 9])

    Off the CPU, and where nothing is learned, it is the stock layer. It cannot be differentiated twice.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        if images.device.type != "cpu" or not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(images)
        tensors = (images, self.weight, *([] if self.bias is None else [self.bias]))
        if torch.is_autocast_enabled("cpu"):
            tensors = tuple(tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors)
        output: Tensor = _Convolve.apply(*tensors)
        return output


def replace_depthwise(module: nn.Module) -> int:
    """Make every convolution in `module` that can be a `GramDepthwise` one, in place; gives how many.

    The class changes and nothing else: weights, their names, hooks and random numbers stay as they are.
    """
    found = [layer for layer in module.modules() if type(layer) is nn.Conv2d and _fits(layer)]
    for layer in found:
        layer.__class__ = GramDepthwise
    return len(found)


def _fits(layer: nn.Conv2d) -> bool:
    """Whether it is depthwise, in steps of one, with zeros around that keep the size."""
    kernel = layer.kernel_size
    centred = layer.padding in ("same", tuple(side // 2 for side in kernel)) and all(side % 2 for side in kernel)
    plain = set(layer.stride) == set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
    return depthwise and plain and centred and max(kernel) > 1


class _Convolve(torch.autograd.Function):
    """Stock forward, our backward."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(images, weight)
        return _convolve(images, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        for_images = for_weight = for_bias = None
        with torch.autocast("cpu", enabled=False):
            if ctx.needs_input_grad[0]:
                for_images = _convolve(gradient, weight.flip(2, 3), None)
            if ctx.needs_input_grad[1]:
                for_weight = (weight_gradient if _pays(images) else _stock)(images, gradient, *weight.shape[2:])
            if len(ctx.needs_input_grad) > 2 and ctx.needs_input_grad[2]:
                for_bias = gradient.sum(dim=(0, 2, 3))
        return (for_images, for_weight, for_bias)[: len(ctx.needs_input_grad)]


def _convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    around = [side // 2 for side in weight.shape[2:]]
    return functional.conv2d(images, weight, bias, padding=around, groups=len(weight))


def _pays(images: Tensor) -> bool:
    return images.dtype == torch.bfloat16 or images.shape[2:].numel() <= EXACT


def _stock(images: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """What `weight_gradient` gives, by oneDNN."""
    channels, around = images.shape[1], (height // 2, width // 2)
    shape = (channels, 1, height, width)
    weight = partial(conv2d_weight, padding=around, groups=channels)  # torch leaves it untyped
    found: Tensor = weight(images, shape, gradient)
    return found


def weight_gradient(images: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """The gradient (C, 1, h, w) of a depthwise kernel, from its input and its output's gradient, both (B, C, H, W)."""
    high, wide = images.shape[2:]
    channels_first = _by_channel(images), _by_channel(gradient)
    if high * wide <= WHOLE:
        (x, y), places, start = channels_first, (high, wide), (0, 0)
    else:
        x, y = _tiled(*channels_first, height, width)
        places, start = (TILE + height - 1, TILE + width - 1), (height // 2, width // 2)
    gram = torch.bmm(x.flatten(2).transpose(1, 2), y.flatten(2))  # (C, P, Q)
    outputs = tuple(y.shape[2:])
    sums = _distances(places, outputs, start, (height, width)).to(gram.dtype)  # (P·Q, h·w)
    return (gram.flatten(1) @ sums).view(-1, 1, height, width)


def _by_channel(images: Tensor) -> Tensor:
    """(B, C, H, W) as (C, B, H, W), laid out so; a transposition of one large matrix where it is channels_last."""
    count, channels, high, wide = images.shape
    if images.is_contiguous(memory_format=torch.channels_last):
        rows = images.permute(0, 2, 3, 1).reshape(-1, channels)
        return rows.t().contiguous().view(channels, count, high, wide)
    return images.transpose(0, 1).contiguous()


def _tiled(x: Tensor, y: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Maps (C, B, H, W) cut into tiles of `y` and what of `x` the kernel sees from there, (C, R, side, side) both."""
    high, wide = x.shape[2:]
    below, right = -high % TILE, -wide % TILE
    top, left = height // 2, width // 2
    x = functional.pad(x, (left, left + right, top, top + below))
    y = functional.pad(y, (0, right, 0, below))
    return _cut(x, TILE + height - 1, TILE + width - 1), _cut(y, TILE, TILE)


def _cut(maps: Tensor, height: int, width: int) -> Tensor:
    """Windows (C, R, height, width) of maps (C, B, H, W), TILE places apart."""
    windows = maps.unfold(2, height, TILE).unfold(3, width, TILE)  # (C, B, rows, columns, height, width)
    return windows.reshape(len(maps), -1, height, width)


@lru_cache(maxsize=32)
def _distances(
    places: tuple[int, int], outputs: tuple[int, int], start: tuple[int, int], kernel: tuple[int, int]
) -> Tensor:
    """(P·Q, h·w): 1 where input place P lies under weight h·w when the kernel stands on output place Q, else 0.

    Output (0, 0) stands on input `start`.
    """
    down, across = (
        torch.arange(inputs)[:, None] - torch.arange(output)[None, :] - first + side // 2
        for inputs, output, first, side in zip(places, outputs, start, kernel, strict=True)
    )  # (P_h, Q_h) and (P_w, Q_w): which row and column of the kernel
    vertical, horizontal = (
        (distance[..., None] == torch.arange(side)) for distance, side in zip((down, across), kernel, strict=True)
    )  # (P_h, Q_h, h) and (P_w, Q_w, w)
    both = vertical[:, None, :, None, :, None] & horizontal[None, :, None, :, None, :]
    return both.reshape(-1, kernel[0] * kernel[1]).to(torch.bfloat16)  # 0 and 1 are exact in it
