"""What is changed in the encoder's input alone, while the target is the whole image: hidden cells, other colours.

B batch, S the image's side in pixels. Pixels are in [0, 1]. Random draws are those of torch's global generator, which
the training loop seeds at each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.models.encoder import IMAGENET_MEAN


def hide_cells(images: Tensor, share: float, cell: int) -> Tensor:
    """Each image (B, 3, S, S) with `share` of its square cells, of `cell` pixels, filled with one grey.

    As many cells in each image, at random places. The grey is what the encoder's normalisation maps to 0.
    """
    count, _, side, _ = images.shape
    across = -(-side // cell)  # the last cells are cut off where the side is no multiple
    order = torch.rand(count, across**2, device=images.device).argsort(dim=1).argsort(dim=1)  # (B, cells) ranks
    hidden = (order < round(share * across**2)).view(count, 1, across, across)  # True is hidden
    hidden = hidden.repeat_interleave(cell, dim=2).repeat_interleave(cell, dim=3)[..., :side, :side]  # (B, 1, S, S)
    grey = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    return torch.where(hidden, grey, images)


def jitter_colours(images: Tensor, strength: float) -> Tensor:
    """Each image with its own brightness, contrast, saturation and white balance, (B, 3, S, S).

    Factors are uniform within 1 +- `strength`, for the white balance within 1 +- half of it; in [0, 1) sensible.
    """
    count = len(images)

    def factor(channels: int, reach: float) -> Tensor:
        return 1 + reach * (2 * torch.rand(count, channels, 1, 1, device=images.device) - 1)

    images = images * factor(1, strength)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor(1, strength)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * factor(1, strength)
    return (images * factor(3, strength / 2)).clamp(0, 1)
