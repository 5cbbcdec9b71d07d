"""Differences between two sets of images that share the models but no lesion: external and internal, val and train.

Each set is resampled on its own, so the variance of one minus the other is the sum of both variances. A seed is the
same model on both sets, so seeds stay paired.
"""

from __future__ import annotations

import numpy as np

from components.statistics.bootstrap import Sample
from components.statistics.weighting import Array


def set_difference(one: Sample, other: Sample) -> Sample:
    """One set minus the other, of one model, for two sets that were resampled independently.

    Draw by draw it is the difference of two independent bootstraps, whose variances add up. The delete-one jackknife of
    a function of two samples leaves out one group of either and keeps the other sample whole (Davison & Hinkley 1997,
    section 3.2), so `omitted` has a place for each group of both sets, those of `one` first, in strata of their own
    (`joint_strata`): influences, degrees of freedom and acceleration then add up over both sets.
    """
    omitted = np.concatenate([one.omitted - other.value, one.value - other.omitted])
    return Sample(one.value - other.value, one.resampled - other.resampled, omitted)


def joint_strata(one: Array, other: Array) -> Array:
    """(G one + G other,) the stratum of each group, from those of either set; the sets share no stratum."""
    return np.concatenate([one, other + one.max() + 1])
