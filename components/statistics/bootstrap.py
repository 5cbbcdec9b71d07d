"""Bootstrap and jackknife over whole groups (lesions or patients), stratified by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.statistics.weighting import Array, ScalarMetric, unit_weights

SMALLEST_STRATUM = 5
"""Groups. A smaller class is merged with the next rarest: resampling a single lesion always gives that lesion."""


def strata_of(groups: Array, labels: Array) -> Array:
    """(N,) the stratum in which each image's group is drawn: its class, of several the one with fewest groups.

    A class of fewer than SMALLEST_STRATUM groups is merged with the next rarest until no stratum is smaller.
    """
    names, member = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([member, labels], axis=1), axis=0)  # each group with each class that it contains
    order = np.argsort(np.bincount(pairs[:, 1], minlength=labels.max() + 1), kind="stable")  # rarest class first
    rank = np.argsort(order)
    of_group = np.full(len(names), len(rank))
    np.minimum.at(of_group, pairs[:, 0], rank[pairs[:, 1]])  # (G,) place of its rarest class
    sizes = np.bincount(of_group, minlength=len(rank))
    return np.asarray(_join(sizes, SMALLEST_STRATUM)[of_group][member])


def _join(sizes: Array, smallest: int) -> Array:
    """(K,) the stratum of each class, rarest first: neighbours are merged until the stratum has `smallest` groups."""
    strata, current, held = np.zeros(len(sizes), int), 0, 0
    for place, size in enumerate(sizes):
        if held >= smallest:
            current, held = current + 1, 0
        strata[place] = current
        held += size
    return np.where(strata == current, max(current - 1, 0), strata) if held < smallest else strata


def resample_groups(groups: Array, resamples: int, rng: np.random.Generator, strata: Array | None = None) -> Array:
    """Draw whole groups with replacement.

    Images of one lesion are correlated, so a lesion is drawn with all its images (cluster bootstrap; Davison & Hinkley
    1997, section 3.8).

    Args:
        groups: (N,) the group of each image.
        resamples: R.
        rng: draws the groups.
        strata: (N,), equal within a group; each stratum keeps its number of groups.

    Returns:
        (N, R) float32 weights: how often each image occurs in each resample.
    """
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    of_group = np.zeros(len(names), int) if strata is None else strata[first]
    counts = np.zeros((len(names), resamples), np.float32)
    for stratum in np.unique(of_group):
        rows = np.flatnonzero(of_group == stratum)
        counts[rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples).T
    return np.ascontiguousarray(counts[member])  # (N, R)


def omit_each_group(groups: Array) -> Array:
    """(N, G) float32 weights: column g has all images except those of group g; groups in the order of their names."""
    _, member = np.unique(groups, return_inverse=True)
    return np.asarray(member[:, None] != np.arange(member.max() + 1), np.float32)


@dataclass(frozen=True)
class Sample:
    """A metric of one run: of all images, in each resample, and without each group."""

    value: float
    resampled: Array  # (R,)
    omitted: Array  # (G,)

    def __sub__(self, other: Sample) -> Sample:
        """Paired difference: both samples have the same resamples, so the variance that they share cancels."""
        return Sample(self.value - other.value, self.resampled - other.resampled, self.omitted - other.omitted)


@dataclass(frozen=True)
class Design:
    """The resamples that all runs share."""

    columns: Array  # (N, 1 + R + G) weights: all images once, R resamples, each group left out
    resamples: int
    strata: Array  # (G,) of each group

    def apply(self, metric: ScalarMetric, labels: Array, probabilities: Array) -> Sample:
        """A metric of one run in every column."""
        return self.split(metric(labels, probabilities, self.columns))

    def split(self, values: Array) -> Sample:
        """A metric's values in every column, (1 + R + G,), by kind of column."""
        return Sample(float(values[0]), values[1 : 1 + self.resamples], values[1 + self.resamples :])


def make_design(groups: Array, labels: Array, resamples: int, rng: np.random.Generator) -> Design:
    """The resamples of a test set, stratified by class, from groups (N,) and labels (N,)."""
    strata = strata_of(groups, labels)
    drawn = resample_groups(groups, resamples, rng, strata)
    columns = np.hstack([unit_weights(len(groups)), drawn, omit_each_group(groups)])
    return Design(columns, resamples, strata[np.unique(groups, return_index=True)[1]])
