"""The projection as a torch module, and its fit to images.

B batch, S the image's side in pixels, P = 3 x side x side pixels and colours of the shrunk image, D components.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.models.encoder import Encoder, Images, Ints
from components.models.principal_components import fit_components, read_shrunk, shrink


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


@torch.no_grad()
def fit_projection(encoder: Encoder, take: Callable[[Ints], Images], rows: Ints) -> float:
    """Set mean image and components of the encoder's projection from the images at `rows`, normalised as it gets them.

    Returns:
        The share of their variance that the components have.
    """
    projection, mean, std = encoder.trunk, encoder.mean.cpu(), encoder.std.cpu()
    assert isinstance(projection, PixelProjection)
    pixels = read_shrunk(take, rows, projection.side, lambda images: (images - mean) / std)
    found = fit_components(pixels, len(projection.components))
    projection.centre.copy_(torch.from_numpy(found.mean))
    projection.components.copy_(torch.from_numpy(found.directions))
    return found.share
