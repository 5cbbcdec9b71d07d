"""Principal components of images: exact, and determined by the images alone.

B batch, N images, S the image's side in pixels, P = 3 x side x side values of a shrunk image, D components.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional

from components.base.errors import SettingsError
from components.models.encoder import Images, Ints, read_batches

Array = np.ndarray[Any, np.dtype[np.float32]]

MOST_IMAGES = 20_000
"""Images from which components are computed at most, drawn at random: bounds the memory to 250 MB at 32 pixels."""


@dataclass(frozen=True)
class PrincipalComponents:
    """The directions in which images vary most, largest variance first."""

    mean: Array
    """The mean image (P,)."""
    directions: Array
    """Orthonormal rows (D, P)."""
    variances: Array
    """Of the coordinates (D,)."""
    share: float
    """Of the whole variance that the D components have, in [0, 1]."""


def shrink(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, S, S) averaged over areas to (B, 3 x side x side); an image of fewer pixels is enlarged."""
    return functional.adaptive_avg_pool2d(images, side).flatten(1)


@torch.no_grad()
def read_shrunk(
    take: Callable[[Ints], Images], rows: Ints, side: int, normalise: Callable[[Tensor], Tensor] | None = None
) -> Array:
    """The images at `rows`, in [0, 1], then as `normalise` gives them, then shrunk: (N, P)."""
    images = (batch.float() / 255 for batch in read_batches(take, rows))
    changed = images if normalise is None else map(normalise, images)
    return np.concatenate([shrink(batch, side).numpy() for batch in changed])


def draw_rows(count: int, seed: int) -> Ints:
    """Row numbers of the images that are used, in ascending order: all, or MOST_IMAGES of them."""
    if count <= MOST_IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 0x9CA]).choice(count, MOST_IMAGES, replace=False))


def check_count(components: int, images: int, side: int, kind: str) -> None:
    """Refuse as many components as there are images or values; `kind` is the arm's.

    Raises:
        SettingsError: with the largest possible number.
    """
    most = min(images, 3 * side**2)
    if components >= most:
        raise SettingsError(
            f"pretrain.arms: kind {kind} has components = {components}, expected fewer than {most}, the smaller of "
            f"{images} train images and 3 x {side} x {side} pixels (params.yaml)"
        )


def fit_components(pixels: Array, count: int) -> PrincipalComponents:
    """The first `count` components of images (N, P), to full precision: ARPACK from a fixed start vector."""
    found = PCA(count, svd_solver="arpack", random_state=0).fit(pixels)
    directions = np.ascontiguousarray(found.components_)  # ARPACK's rows are reversed
    share = float(found.explained_variance_ratio_.sum())
    return PrincipalComponents(found.mean_, directions, found.explained_variance_, share)


def largest_share(pixels: Tensor, count: int) -> float:
    """Share of the variance of images (N, P) that their own first `count` components have, in [0, 1].

    No linear code of `count` numbers explains more of these images (Eckart & Young 1936).
    """
    centred = (pixels - pixels.mean(dim=0)).double()
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)  # descending
    return float(values[:count].sum() / values.sum().clamp(min=torch.finfo(torch.float64).tiny))


class ExplainedVariance:
    """The share of the variance of values that predictions explain, from sums over batches, so that none is kept.

    It is 1 - squared error / squared distance from the mean of the values; below 0: worse than their mean.
    """

    def __init__(self) -> None:
        self.count, self.squares, self.error = 0, 0.0, 0.0
        self.sums: Tensor | float = 0.0  # (P,) after the first batch

    def add(self, values: Tensor, predicted: Tensor) -> None:
        """Count a batch, (B, ...) each with P values an image."""
        flat, other = values.flatten(1).double(), predicted.flatten(1).double()  # (B, P)
        self.count += len(flat)
        self.sums = self.sums + flat.sum(dim=0)
        self.squares += float(flat.square().sum())
        self.error += float((flat - other).square().sum())

    @property
    def share(self) -> float:
        """At most 1; 0 where the values do not vary."""
        sums = torch.as_tensor(self.sums)
        total = self.squares - float(sums.square().sum()) / self.count
        return 1 - self.error / total if total > 0 else 0.0
