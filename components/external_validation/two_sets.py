"""Differences between two test sets that share the models but no lesion.

Each set is resampled on its own, so the variance of external minus internal is the sum of both variances. A seed is the
same model on both sets, so seeds stay paired.
"""

from __future__ import annotations

import numpy as np

from components.statistics.bootstrap import Design, Sample
from components.statistics.weighting import Array


def set_difference(external: Sample, internal: Sample) -> Sample:
    """External minus internal of one model, for two sets that were resampled independently.

    Draw by draw it is the difference of two independent bootstraps, whose variances add up. The delete-one jackknife of
    a function of two samples leaves out one group of either and keeps the other sample whole (Davison & Hinkley 1997,
    section 3.2), so `omitted` has a place for each group of both sets, external groups first, in strata of their own
    (`joint_strata`): influences, degrees of freedom and acceleration then add up over both sets.
    """
    omitted = np.concatenate([external.omitted - internal.value, external.value - internal.omitted])
    return Sample(external.value - internal.value, external.resampled - internal.resampled, omitted)


def joint_strata(external: Design, internal: Design) -> Array:
    """(G external + G internal,) the stratum of each group; the sets share no stratum."""
    return np.concatenate([external.strata, internal.strata + external.strata.max() + 1])
