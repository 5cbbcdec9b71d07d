"""Which share of its accuracy above chance a model keeps when the lesion is masked, arm against arm.

Balanced accuracy on masked pictures alone compares arms badly: an arm that recognises less has less to lose. So it is
divided by what the same run reaches on the same images as they are, both counted from chance. At 0 nothing is kept, at
1 the lesion made no difference.
Letters: N images, n of them counted, S seeds, C columns of `statistics.resampled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.robustness.corruption_drop import balanced_accuracies
from components.robustness.measurements import ModelKey, RunPredictions
from components.statistics.intervals import Interval
from components.statistics.resampled import ANY, Resampled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class KeptDifference:
    """A model's kept share minus the reference's, on the same lesions and with the same seeds."""

    interval: Interval
    p: float  # of no difference, not corrected


@dataclass(frozen=True)
class KeptAccuracy:
    """The kept share of one model; NaN where a seed is not above chance on the images as they are."""

    share: Interval
    difference: KeptDifference | None  # None for the reference


def kept_shares(
    models: Mapping[ModelKey, Sequence[RunPredictions]],
    picture: str,
    rows: Array,
    classes: Sequence[int],
    sample: Resampled,
    reference: str,
) -> dict[ModelKey, KeptAccuracy]:
    """The kept share of every model, and its paired difference from the reference's.

    Args:
        models: the runs of each model, one a seed.
        picture: a key of `occlusion.PICTURES`.
        rows: (N,) bool, True for the n counted images.
        classes: indices of the counted classes.
        sample: the counted images; labels are positions in `classes`.
        reference: the arm that the others are compared with.
    """
    kept = {
        model: np.stack([_kept_share(run.clean[rows], run.masked[picture][rows], classes, sample) for run in runs])
        for model, runs in models.items()
    }  # (S, C) each
    found = {}
    for (arm, protocol), values in kept.items():
        difference = None
        if arm != reference:
            estimated = sample.estimate(values - kept[reference, protocol], ANY)
            difference = KeptDifference(estimated.interval(sample.confidence), estimated.p_value())
        found[arm, protocol] = KeptAccuracy(sample.interval(values, ANY), difference)
    return found


def _kept_share(clean: Array, masked: Array, classes: Sequence[int], sample: Resampled) -> Array:
    """Of one run, (C,); a prediction of a class that is not counted is wrong, so chance is 1 / classes."""
    answers = np.stack([clean.argmax(1), masked.argmax(1)])  # (2, n)
    right = answers == np.asarray(classes)[sample.labels]
    whole, rest = balanced_accuracies(right, sample.labels, sample.weights) - 1 / len(classes)  # (C,) each
    return np.asarray(np.divide(rest, whole, out=np.full_like(whole, np.nan), where=whole > 0))
