"""The projection as a torch module, and principal components of images.

B batch, N images, S the image's side, P = 3 x side x side pixels and colours of the shrunk image, D components.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from components.models.encoder import Encoder, Images, Ints, read_batches

Array = np.ndarray[Any, np.dtype[np.float32]]

MOST_IMAGES = 20_000
"""Images from which components are computed at most, drawn at random: bounds the memory to 250 MB at 32 pixels."""


class PixelProjection(nn.Module):
    """Images (B, 3, S, S) to a map (B, D, 1, 1): shrunk to `side` pixels, minus the mean image, times the components.

    The components are buffers and not parameters: no protocol trains them.
    """

    centre: Tensor
    components: Tensor

    def __init__(self, components: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("centre", torch.zeros(3 * side**2))
        self.register_buffer("components", torch.randn(components, 3 * side**2) / (3 * side**2) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Computed in float32 also inside an autocast block, so that training and prediction have equal features."""
        with torch.autocast(images.device.type, enabled=False):
            pixels = shrink(images.float(), self.side)  # (B, P)
            return ((pixels - self.centre) @ self.components.T)[:, :, None, None]  # (B, D, 1, 1)


def shrink(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, S, S) averaged over areas to (B, 3 x side x side); an image of fewer pixels is enlarged."""
    return functional.adaptive_avg_pool2d(images, side).flatten(1)


@torch.no_grad()
def read_shrunk(encoder: Encoder, take: Callable[[Ints], Images], rows: Ints) -> Array:
    """The images at `rows` as the projection of `encoder` gets them, (N, P)."""
    projection, mean, std = encoder.trunk, encoder.mean.cpu(), encoder.std.cpu()
    assert isinstance(projection, PixelProjection)
    batches = (shrink((batch.float() / 255 - mean) / std, projection.side) for batch in read_batches(take, rows))
    return np.concatenate([batch.numpy() for batch in batches])


def draw_rows(count: int, seed: int) -> Ints:
    """Row numbers of the images that are used, in ascending order: all, or MOST_IMAGES of them."""
    if count <= MOST_IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 0x9CA]).choice(count, MOST_IMAGES, replace=False))


def fit_components(projection: PixelProjection, pixels: Array) -> float:
    """Set mean image and components from images (N, P); returns the share of their variance that the components have.

    Computed to full precision (ARPACK from a fixed start vector): the images alone determine the components.
    """
    found = PCA(len(projection.components), svd_solver="arpack", random_state=0).fit(pixels)
    projection.centre.copy_(torch.from_numpy(found.mean_))
    projection.components.copy_(torch.from_numpy(np.ascontiguousarray(found.components_)))  # ARPACK's rows are reversed
    return float(found.explained_variance_ratio_.sum())
