"""How far an image is from the train images, in the features that the classifier reads.

The distance is that of Mahalanobis under probabilistic principal components: variances along the first q components,
one variance for all others (Tipping & Bishop 1999, eq. 7). Beside it stands the share of val images, one a lesion, that
are as far or farther, a conformal p-value: for an image like those of val it is at most a with a probability of at most
a (Bates et al. 2023, eq. 3). Letters: N images, D features, q components, M val images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TENSORS = ("mean", "components", "variances", "noise", "val_distances")
"""Names of the arrays in the bundle's file."""


@dataclass(frozen=True)
class OutlierReference:
    """Where the train features lie, and how far the val images are from there."""

    mean: Array  # (D,)
    components: Array  # (q, D), rows of length 1
    variances: Array  # (q,) along the components
    noise: float
    """Variance along every other direction."""
    val_distances: Array  # (M,), rising

    @classmethod
    def fit(cls, train: Array, val: Array, components: int) -> OutlierReference:
        """From standardised features of train (N, D) and val (M, D).

        Where there are too few images or features for `components`, as many as there can be are used.
        """
        from sklearn.decomposition import PCA

        features = train.astype(np.float64)
        count = min(components, features.shape[1] - 1, len(features) - 1)
        found = PCA(count, svd_solver="covariance_eigh").fit(features)
        noise = max(float(found.noise_variance_), float(np.finfo(np.float32).tiny))
        variances = np.maximum(found.explained_variance_, noise)
        reference = cls(found.mean_, found.components_, variances, noise, np.empty(0))
        return cls(found.mean_, found.components_, variances, noise, np.sort(reference.distances(val)))

    def distances(self, features: Array) -> Array:
        """The squared Mahalanobis distance of standardised features (N, D), (N,)."""
        centred = features.astype(np.float64) - self.mean
        along = centred @ self.components.T  # (N, q)
        rest = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0.0)
        return np.asarray((along**2 / self.variances).sum(1) + rest / self.noise)

    def p_values(self, distances: Array) -> Array:
        """(N,) the share of val images, this image counted with them, that are as far or farther; above 0."""
        as_far = len(self.val_distances) - np.searchsorted(self.val_distances, distances, side="left")
        return np.asarray((1 + as_far) / (1 + len(self.val_distances)))

    def as_arrays(self) -> dict[str, Array]:
        """TENSORS by name, float64."""
        values = (self.mean, self.components, self.variances, np.array([self.noise]), self.val_distances)
        return {name: np.ascontiguousarray(value, np.float64) for name, value in zip(TENSORS, values, strict=True)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> OutlierReference:
        """Of `as_arrays`."""
        mean, components, variances, noise, val_distances = (np.asarray(arrays[name]) for name in TENSORS)
        return cls(mean, components, variances, float(noise[0]), val_distances)
