"""The train lesions nearest to a test image in an encoder's features, and how often they share its class.

N test images, M train images, K classes, D features, C columns of `statistics.resampled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from components.statistics.intervals import Interval
from components.statistics.resampled import SHARE, resample
from components.statistics.runs import Images
from components.statistics.weighting import mean_over_classes, ratio

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Neighbour:
    """A train image near a test image."""

    image: str
    label: str
    distance: float  # 1 - cosine, in [0, 2]


def standardise(features: Array, train: Array) -> Array:
    """Features (N, D) with mean and deviation of the train features (M, D), as the classifier's head reads them."""
    deviation = train.std(axis=0)
    return np.asarray((features - train.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def nearest_lesions(train: Array, groups: Array, test: Array, count: int) -> tuple[Array, Array]:
    """The nearest train lesions of each test image by cosine distance; of each lesion its nearest image.

    Args:
        train: (M, D) standardised features.
        groups: (M,) lesion or patient of each train image.
        test: (N, D) standardised features.
        count: lesions; fewer where the train images have fewer.

    Returns:
        Rows of the train images, (N, count), the nearest first, and their distances, 1 - cosine in [0, 2].
    """
    count = min(count, len(np.unique(groups)))
    search = NearestNeighbors(metric="cosine", algorithm="brute").fit(train)
    rows, distances = np.zeros((len(test), count), int), np.zeros((len(test), count))
    waiting, images = np.arange(len(test)), 2 * count
    while len(waiting):  # lesions with many images can fill the list: search for more images
        images = min(images, len(train))
        near_distances, near = search.kneighbors(test[waiting], n_neighbors=images)
        done = np.zeros(len(waiting), bool)
        for place, row in enumerate(waiting):
            first = np.sort(np.unique(groups[near[place]], return_index=True)[1])[:count]
            done[place] = len(first) == count
            if done[place]:
                rows[row], distances[row] = near[place][first], near_distances[place][first]
        waiting, images = waiting[~done], 2 * images
    return rows, distances


def class_agreement(
    images: Images, shares: Sequence[Array], *, resamples: int, confidence: float, seed: int
) -> Interval:
    """Mean over classes of the share of an image's neighbours that have its class, in [0, 1].

    With random neighbours it is 1 / K, however frequent the classes are.

    Args:
        images: the test images.
        shares: of each distinct encoder, (N,) the share of each image's neighbours that have its class.
        resamples: bootstrap resamples of lesions.
        confidence: of the interval over lesions and encoders.
        seed: of the resamples.
    """
    rng = np.random.default_rng([seed, 0xA6E])
    sample = resample(images.labels, images.groups, resamples, confidence, rng)
    present = np.unique(images.labels)
    of_class = (images.labels == present[:, None]).astype(np.float32)  # (K, N)
    counts = of_class @ sample.weights  # (K, C) images of each class
    by_encoder = [mean_over_classes(ratio((of_class * share) @ sample.weights, counts)) for share in shares]
    return sample.interval(np.stack(by_encoder), SHARE)
