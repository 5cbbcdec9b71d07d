"""The quantiles as a torch module without parameters. B batch, C channels, S the image's side, Q quantiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.models.encoder import IMAGENET_MEAN, IMAGENET_STD

LEVELS = (0.01, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9, 0.99)
"""Closer together at the ends, since a lesion often covers a small part of the image."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

SMALLEST = 1e-12
"""Added below the square root, whose gradient at 0 is infinite."""


class ColourQuantiles(nn.Module):
    """Images (B, 3, S, S), normalised as the encoder does, to a map (B, 48, 1, 1)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Quantiles of each channel of `colour_channels`, channel by channel."""
        pixels = (images * self.std + self.mean).float()  # (B, 3, S, S) in [0, 1]
        found = [quantiles(channel, LEVELS) for channel in colour_channels(pixels)]  # of (B, Q)
        return torch.cat(found, dim=1)[:, :, None, None]  # (B, C x Q, 1, 1)


def colour_channels(pixels: Tensor) -> list[Tensor]:
    """Six values of each pixel, (B, S, S) each, in [0, 1] or nearly so: red, green, blue, chroma, luma, edge strength.

    Chroma is the largest colour minus the smallest: saturation that stays steady on dark pixels. Edge strength is the
    length of luma's gradient between neighbouring pixels.
    """
    red, green, blue = pixels.unbind(dim=1)
    chroma = pixels.amax(dim=1) - pixels.amin(dim=1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return [red, green, blue, chroma, luma, edge_strength(luma)]


def edge_strength(luma: Tensor) -> Tensor:
    """Length of the gradient (B, S - 1, S - 1), from the differences to the pixels below and to the right."""
    here = luma[:, :-1, :-1]
    down, right = luma[:, 1:, :-1] - here, luma[:, :-1, 1:] - here
    return (down.square() + right.square() + SMALLEST).sqrt()


def quantiles(channel: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Quantiles (B, Q) of the pixels of a channel (B, H, W), interpolated linearly as numpy's.

    By sorting: `torch.quantile` refuses more than 16 million values, 320 images of 224 pixels.
    """
    ordered = channel.flatten(1).sort(dim=1).values  # (B, H W)
    places = torch.tensor(levels, device=channel.device) * (ordered.shape[1] - 1)  # (Q,)
    low = places.floor().long()
    high = places.ceil().long()
    return torch.lerp(ordered[:, low], ordered[:, high], (places - low).to(ordered))
