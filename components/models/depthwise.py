"""Depthwise convolution whose weight gradient is a matrix product: faster training of ConvNeXt on a CPU.

The weight gradient of the 7x7 depthwise convolutions was 39 % of a ConvNeXt step in bfloat16, since oneDNN computes
the k·k gradients of each channel one by one. Here a channel's inputs X (R, P) and output gradients Y (R, Q), R images
or tiles with P input and Q output positions, give the Gram matrix XᵀY (P, Q). Its entries with the same offset
between input and output position belong to one weight, and their sum is that weight's gradient. This takes more
operations, but all of them in matrix products, where CPUs are fastest: 1.2 to 1.4 times as many images a second. The
image gradient is the forward convolution with the kernel rotated by 180 degrees.

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

LARGEST_MAP = 256
"""Positions in the largest map that gives one Gram matrix; larger maps are cut into tiles."""

LARGEST_MAP_FLOAT32 = 144
"""The same where float32 is still faster than oneDNN: CPUs multiply float32 6 to 8 times slower than bfloat16."""

TILE = 8
"""Positions, the side of a tile."""


class GramDepthwise(nn.Conv2d):
    """A depthwise `nn.Conv2d` with stride 1 and an output of its input's size; same weights, names and results.

    >>> layer = GramDepthwise(4, 4, kernel_size=7, padding=3, groups=4)
    >>> layer(torch.zeros(2, 4, 9, 9)).shape
    torch.Size([2, 4, 9, 9])

    On a GPU, and where the weight is not trained, it is the stock layer. It has no second derivative.
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
    """Turn every suitable convolution in `module` into a `GramDepthwise`, in place; returns their number.

    Only the class changes: weights, names, hooks and the state of the random generator stay.
    """
    found = [layer for layer in module.modules() if type(layer) is nn.Conv2d and _fits(layer)]
    for layer in found:
        layer.__class__ = GramDepthwise
    return len(found)


def _fits(layer: nn.Conv2d) -> bool:
    """True for a depthwise layer of stride 1 with zero padding that keeps the size."""
    kernel = layer.kernel_size
    centred = layer.padding in ("same", tuple(side // 2 for side in kernel)) and all(side % 2 for side in kernel)
    plain = set(layer.stride) == set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
    return depthwise and plain and centred and max(kernel) > 1


class _Convolve(torch.autograd.Function):
    """The stock forward pass with the backward pass of this file."""

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
                for_weight = (weight_gradient if _is_faster(images) else _stock_weight_gradient)(
                    images, gradient, *weight.shape[2:]
                )
            if len(ctx.needs_input_grad) > 2 and ctx.needs_input_grad[2]:
                for_bias = gradient.sum(dim=(0, 2, 3))
        return (for_images, for_weight, for_bias)[: len(ctx.needs_input_grad)]


def _convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    around = [side // 2 for side in weight.shape[2:]]
    return functional.conv2d(images, weight, bias, padding=around, groups=len(weight))


def _is_faster(images: Tensor) -> bool:
    return images.dtype == torch.bfloat16 or images.shape[2:].numel() <= LARGEST_MAP_FLOAT32


def _stock_weight_gradient(images: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """The result of `weight_gradient`, computed by oneDNN."""
    channels, around = images.shape[1], (height // 2, width // 2)
    shape = (channels, 1, height, width)
    weight = partial(conv2d_weight, padding=around, groups=channels)  # untyped in torch
    found: Tensor = weight(images, shape, gradient)
    return found


def weight_gradient(images: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Gradient (C, 1, h, w) of a depthwise kernel, from its input and its output's gradient, both (B, C, H, W)."""
    high, wide = images.shape[2:]
    channels_first = _by_channel(images), _by_channel(gradient)
    if high * wide <= LARGEST_MAP:
        (x, y), places, start = channels_first, (high, wide), (0, 0)
    else:
        x, y = _tiled(*channels_first, height, width)
        places, start = (TILE + height - 1, TILE + width - 1), (height // 2, width // 2)
    gram = torch.bmm(x.flatten(2).transpose(1, 2), y.flatten(2))  # (C, P, Q)
    outputs = tuple(y.shape[2:])
    sums = _offsets(places, outputs, start, (height, width)).to(gram.dtype)  # (P·Q, h·w)
    return (gram.flatten(1) @ sums).view(-1, 1, height, width)


def _by_channel(images: Tensor) -> Tensor:
    """(B, C, H, W) to contiguous (C, B, H, W); for channels_last input, one transposition of a large matrix."""
    count, channels, high, wide = images.shape
    if images.is_contiguous(memory_format=torch.channels_last):
        rows = images.permute(0, 2, 3, 1).reshape(-1, channels)
        return rows.t().contiguous().view(channels, count, high, wide)
    return images.transpose(0, 1).contiguous()


def _tiled(x: Tensor, y: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Maps (C, B, H, W) as tiles (C, R, side, side) of `y`, and the part of `x` that the kernel reads for each."""
    high, wide = x.shape[2:]
    below, right = -high % TILE, -wide % TILE
    top, left = height // 2, width // 2
    x = functional.pad(x, (left, left + right, top, top + below))
    y = functional.pad(y, (0, right, 0, below))
    return _cut(x, TILE + height - 1, TILE + width - 1), _cut(y, TILE, TILE)


def _cut(maps: Tensor, height: int, width: int) -> Tensor:
    """Windows (C, R, height, width) of maps (C, B, H, W), TILE positions apart."""
    windows = maps.unfold(2, height, TILE).unfold(3, width, TILE)  # (C, B, rows, columns, height, width)
    return windows.reshape(len(maps), -1, height, width)


@lru_cache(maxsize=32)
def _offsets(
    places: tuple[int, int], outputs: tuple[int, int], start: tuple[int, int], kernel: tuple[int, int]
) -> Tensor:
    """(P·Q, h·w): 1 where input position P is multiplied by weight h·w to give output position Q, else 0.

    Output (0, 0) is centred on input `start`.
    """
    down, across = (
        torch.arange(inputs)[:, None] - torch.arange(output)[None, :] - first + side // 2
        for inputs, output, first, side in zip(places, outputs, start, kernel, strict=True)
    )  # (P_h, Q_h) and (P_w, Q_w): row and column in the kernel
    vertical, horizontal = (
        (distance[..., None] == torch.arange(side)) for distance, side in zip((down, across), kernel, strict=True)
    )  # (P_h, Q_h, h) and (P_w, Q_w, w)
    both = vertical[:, None, :, None, :, None] & horizontal[None, :, None, :, None, :]
    return both.reshape(-1, kernel[0] * kernel[1]).to(torch.bfloat16)  # 0 and 1 are exact in bfloat16
