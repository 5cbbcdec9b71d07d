"""Random changes of a batch of images, for pretraining: symmetries, crops, colours, hidden cells.

B batch, S the image's side in pixels. Pixels are in [0, 1]. Random draws are those of torch's global generator, which
the training loop seeds at each step; each image of a batch has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from components.models.encoder import IMAGENET_MEAN


@dataclass(frozen=True)
class ImageChanges:
    """Crop, then colours, then hidden cells; the defaults change nothing."""

    least_area: float = 1.0
    """Smallest share of the image's area that a crop keeps, in (0, 1]; 1: no crop."""
    jitter: float = 0.0
    """Strength of the random changes of colour, in [0, 1)."""
    hidden: float = 0.0
    """Share of the cells that are hidden."""
    cell: int = 16
    """Pixels, the side of a cell."""

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to the same shape."""
        images = random_crop(images, self.least_area) if self.least_area < 1 else images
        images = jitter_colours(images, self.jitter) if self.jitter else images
        return hide_cells(images, self.hidden, self.cell) if self.hidden else images


def random_symmetry(images: Tensor) -> Tensor:
    """Each image (B, C, S, S) under one of the eight symmetries of the square, drawn with equal probability."""
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5  # (3, B, 1, 1, 1)
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


def random_crop(images: Tensor, least_area: float) -> Tensor:
    """A square part of each image (B, C, S, S), enlarged to the whole side by bilinear interpolation.

    The part's share of the area is uniform in [`least_area`, 1], its place uniform among those inside the image.
    """
    count = len(images)
    area = least_area + (1 - least_area) * torch.rand(count, device=images.device)
    side = area.sqrt()  # (B,) share of the image's side
    shift = (1 - side)[:, None] * (2 * torch.rand(count, 2, device=images.device) - 1)  # (B, 2) of the part's centre
    affine = torch.cat([torch.diag_embed(side[:, None].expand(-1, 2)), shift[:, :, None]], dim=2)  # (B, 2, 3)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)  # (B, S, S, 2) in [-1, 1]
    # at the border the grid's outermost points are half a pixel inside, so that nothing outside is read
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


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
