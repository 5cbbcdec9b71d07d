"""Means over images with fixed shares of the classes, in every resample of a set's lesions and without each lesion.

The runs of a study may be measured on different images of the set, such as each seed on its own draw of the train
images: a lesion then counts equally often in all of them.

Letters: N images, K classes, G groups (lesions or patients), R resamples, M sets of values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from components.statistics.bootstrap import Sample, resample_groups, strata_of
from components.statistics.weighting import Array, Labels, ratio


@dataclass(frozen=True)
class LesionResamples:
    """How often each lesion of a set occurs in each resample, stratified by class."""

    groups: Array
    """(G,) names in rising order."""
    strata: Array
    """(G,)."""
    counts: Array
    """(G, R) float32."""

    @classmethod
    def draw(cls, groups: Array, labels: Labels, resamples: int, rng: np.random.Generator) -> Self:
        """From the groups (N,) and labels (N,) of all images of the set, of every run."""
        names, first = np.unique(groups, return_index=True)
        strata = strata_of(groups, labels)[first]
        return cls(names, strata, resample_groups(names, resamples, rng, strata))

    def class_means(self, groups: Array, labels: Labels, values: Array, classes: int) -> Array:
        """Means of values (M, N) over the images of each class: (M, K, 1 + R + G).

        Args:
            groups: (N,) of the images of one run; all are among `groups` of the set.
            labels: (N,).
            values: one a set and image.
            classes: K.

        Returns:
            The images as they are, in each resample, and without each group; NaN where a class has no image.
        """
        size = len(self.groups) * classes
        cell = np.searchsorted(self.groups, groups) * classes + labels  # (N,) group and class of each image
        sums = np.stack([np.bincount(cell, row, size) for row in values]).reshape(len(values), -1, classes)
        images = np.bincount(cell, minlength=size).reshape(-1, classes)  # (G, K)
        by_class = [self._means(sums[:, :, k], images[:, k]) for k in range(classes)]
        return np.stack(by_class, axis=1)

    def _means(self, sums: Array, images: Array) -> Array:
        """(M, 1 + R + G) from the sums (M, G) and numbers of images (G,) of one class."""
        here = np.flatnonzero(images)
        drawn = self.counts[here].astype(float)  # (G here, R)
        all_sums, all_images = sums.sum(1, keepdims=True), images.sum()
        tops = all_sums, sums[:, here] @ drawn, all_sums - sums
        bottoms = np.array([all_images]), images[here] @ drawn, all_images - images
        return np.hstack([ratio(top, bottom) for top, bottom in zip(tops, bottoms, strict=True)])

    def samples(self, by_class: Array, shares: Array) -> list[Sample]:
        """M samples from class means (M, K, 1 + R + G), averaged with the classes' shares (K,).

        A class without an image in a resample is left out of its mean.
        """
        known = np.isfinite(by_class)
        weights = shares[:, None] * known
        means = ratio((np.where(known, by_class, 0.0) * weights).sum(1), weights.sum(1))  # (M, 1 + R + G)
        last = 1 + self.counts.shape[1]
        return [Sample(float(row[0]), row[1:last], row[last:]) for row in means]
