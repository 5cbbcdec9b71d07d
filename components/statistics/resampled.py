"""One resampling of a split for many numbers, and their means over seeds with intervals.

Letters: N images, C columns of `bootstrap.Design`, S seeds. A function of weights (N, C) gives its value in all columns
at once, so a number and its interval come from the same matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.bootstrap import Design, make_design
from components.statistics.intervals import Estimate, Interval, estimate
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

SHARE = (0.0, 1.0)
"""Bounds of sensitivities, coverages and other shares."""

DIFFERENCE = (-1.0, 1.0)
"""Bounds of one share minus another."""

ANY = (-np.inf, np.inf)
"""Bounds of net benefits."""

LOSS = (0.0, np.inf)
"""Bounds of losses and costs."""


@dataclass(frozen=True)
class Resampled:
    """The labelled images of one split and their resamples."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,) lesion or patient
    design: Design
    confidence: float

    @property
    def weights(self) -> Array:
        """How often each image counts in each column, (N, C); column 0 has every image once."""
        return self.design.columns

    @cached_property
    def votes(self) -> Array:
        """The weights divided by the images of the group, (N, C): each lesion then has one vote."""
        _, member, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
        return np.asarray(self.weights / counts[member].astype(np.float32)[:, None])

    def estimate(self, by_seed: Array, bounds: tuple[float, float], trials: int | None = None) -> Estimate:
        """The mean over seeds of a number in every column, (S, C), with between-seed and between-lesion variance.

        `trials`, of a share: the groups that it is of, for an exact interval where it is 0 or 1.
        """
        return estimate([self.design.split(values) for values in by_seed], self.design.strata, bounds, trials)

    def interval(self, by_seed: Array, bounds: tuple[float, float], trials: int | None = None) -> Interval:
        """The mean over seeds of (S, C) with its interval over seeds and lesions; `trials` as for `estimate`."""
        return self.estimate(by_seed, bounds, trials).interval(self.confidence)

    def count_groups(self, among: Array) -> int:
        """Lesions or patients with an image among some, (N,) or (S, N) bool; of several seeds the lowest number."""
        return min(len(set(self.groups[each])) for each in np.atleast_2d(among))

    def share(self, marked: Array, among: Array) -> Interval:
        """Of the images `among` the share that is `marked`, both (N,) or (S, N) bool, over seeds and lesions."""
        marked, among = (np.atleast_2d(each) for each in np.broadcast_arrays(marked, among))
        hits, images = ((each.astype(np.float32) @ self.weights) for each in (marked & among, among))
        return self.interval(ratio(hits, images), SHARE, self.count_groups(among))

    def share_of_lesions(self, marked: Array, lesions: Array, among: Array) -> Interval:
        """Of the lesions with images `among` the mean share of these images that is `marked`, all (N,), of one run.

        Each lesion has one vote, however many images it has; the interval is over the groups, which may be patients.
        """
        _, member = np.unique(lesions, return_inverse=True)  # (N,)
        images = np.bincount(member, among)
        votes = (among / np.maximum(images, 1)[member]).astype(np.float32)
        hits, all_votes = ((each @ self.weights)[None] for each in (votes * marked, votes))
        return self.interval(ratio(hits, all_votes), SHARE, self.count_groups(among))

    def intervals(self, by_seed: Array, bounds: tuple[float, float]) -> tuple[Interval, ...]:
        """The same for M numbers, (S, M, C)."""
        return tuple(self.interval(by_seed[:, place], bounds) for place in range(by_seed.shape[1]))


@dataclass(frozen=True)
class SeedPredictions:
    """The images of one split with the probabilities of each seed."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,)
    p: Sequence[Array]  # (N, K) a seed


def resample(labels: Array, groups: Array, resamples: int, confidence: float, rng: np.random.Generator) -> Resampled:
    """Resample the images of one split: labels (N,) and groups (N,); `rng` draws the groups."""
    return Resampled(labels, groups, make_design(groups, labels, resamples, rng), confidence)
