"""What the decoder's Gaussian likelihood is a density of: the pixels, or whitened principal components of the image.

Pixel error is mostly mean colour and the lesion's size, the few components with the largest variance. Whitened, each
component has variance 1 over train images, so that the loss weighs fine ones as much as coarse ones.

B batch, S the image's side in pixels, D components, s the side of shrunk images, P = 3 s s.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from components.models.principal_components import PrincipalComponents, shrink

LEAST_VARIANCE = 1e-6
"""Of the optimal noise: below it a perfect reconstruction would have an infinite density."""


class PixelVariable(nn.Module):
    """The pixels themselves."""

    def forward(self, images: Tensor) -> Tensor:
        """The images."""
        return images

    def to_images(self, values: Tensor) -> Tensor:
        """The images."""
        return values


class WhitenedComponents(nn.Module):
    """Coordinates of the shrunk image along principal components, each divided by a standard deviation.

    The divisor is sqrt(variance + floor * largest variance): with floor 0 each coordinate has variance 1 over the
    images that the components were computed from; a floor leaves components of little variance smaller than that.
    """

    centre: Tensor
    directions: Tensor
    scale: Tensor

    def __init__(self, found: PrincipalComponents, side: int, floor: float) -> None:
        super().__init__()
        self.side = side
        scale = np.sqrt(found.variances + floor * found.variances[0])  # (D,)
        self.register_buffer("centre", torch.from_numpy(found.mean).float())
        self.register_buffer("directions", torch.from_numpy(found.directions).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) to whitened coordinates (B, D), in float32 also inside an autocast block."""
        with torch.autocast(images.device.type, enabled=False):
            return (shrink(images.float(), self.side) - self.centre) @ self.directions.T / self.scale

    def to_images(self, values: Tensor) -> Tensor:
        """Whitened coordinates (B, D) to images (B, 3, s, s): the part of the image that the components hold."""
        with torch.autocast(values.device.type, enabled=False):
            pixels = (values.float() * self.scale) @ self.directions + self.centre  # (B, P)
            return pixels.view(-1, 3, self.side, self.side).clamp(0, 1)


Variable: TypeAlias = PixelVariable | WhitenedComponents
"""A module that gives the variable of images, with `to_images` as its inverse."""


def squared_error(values: Tensor, expected: Tensor) -> Tensor:
    """Sum of squares of each image, (B, ...) -> (B,)."""
    return (values - expected).square().flatten(1).sum(dim=1)


def optimal_variance(values: Tensor, expected: Tensor) -> Tensor:
    """The noise variance that makes the Gaussian likelihood of a batch largest: its mean squared error, ().

    Rybkin et al. 2021 (sigma-VAE), eq. 6. It has no gradient: that of the likelihood with respect to the variance is 0
    at its maximum, so the loss has the gradient of N/2 log(mean squared error).
    """
    return (values - expected).detach().square().mean().clamp(min=LEAST_VARIANCE)
