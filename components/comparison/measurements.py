"""One run on the test images: its metrics as they are, in every resample, and without each lesion.

Letters: N images, K classes, G groups (lesions or patients), R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.errors import DataError
from components.comparison.against_null import RESTORED
from components.statistics.bootstrap import Design, Sample
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.prior import Priors
from components.statistics.runs import Images, Run, probabilities, same_images

Array = npt.NDArray[Any]

SENSITIVITY = "sensitivity."
"""Before a class: the name of its sensitivity."""

RESAMPLED = {
    "balanced_accuracy": balanced_accuracy,
    "macro_auroc": macro_auroc,
    "accuracy": accuracy,
    "log_loss": log_loss,
}
"""Metrics measured in every resample. Calibration error is not among them: resampling inflates it."""

ROUNDING = 1e-4
"""Largest difference between a metric of evaluate.json and the same metric of the predictions."""


@dataclass(frozen=True)
class RunMeasurements:
    """One run on the test images."""

    samples: Mapping[str, Sample]
    """RESAMPLED, RESTORED, and `sensitivity.CLASS` of each class."""
    probabilities: Array
    """(N, K)."""
    ece: float
    """Expected calibration error, as evaluate wrote it."""
    confusion: Array
    """(K, K) counts; rows are the true class."""


def measure_run(run: Run, test: Images, design: Design, classes: Sequence[str], priors: Priors) -> RunMeasurements:
    """Every metric that the comparison needs of one run.

    Args:
        run: with predictions, and metrics as evaluate wrote them.
        test: the test images, the same for all runs.
        design: the resamples, the same for all runs.
        classes: in the order of the probabilities.
        priors: restore the class frequencies of train in the probabilities.

    Raises:
        DataError: where evaluate.json does not agree with the predictions.
    """
    p = probabilities(run, "test", classes)  # (N, K)
    samples = {name: design.apply(metric, test.labels, p) for name, metric in RESAMPLED.items()}
    samples[RESTORED] = design.apply(log_loss, test.labels, priors.restore(p))
    by_class = sensitivity(test.labels, p, design.columns)  # (K, 1 + R + G)
    samples |= {SENSITIVITY + name: design.split(by_class[k]) for k, name in enumerate(classes)}
    _check_fresh(run, {name: sample.value for name, sample in samples.items()})
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (test.labels, p.argmax(1)), 1)
    return RunMeasurements(samples, p, float(run.measured["ece"]), confusion)


def _check_fresh(run: Run, values: Mapping[str, float]) -> None:
    """evaluate.json and the predictions must be of the same classifier."""
    for name in ("balanced_accuracy", "accuracy"):
        if abs(float(run.measured[name]) - values[name]) > ROUNDING:
            raise DataError(
                f"metrics/evaluate.json says {name} {run.measured[name]:.4f} of {run.name}, its predictions say "
                f"{values[name]:.4f}: one of them is stale; repeat: dvc repro -f evaluate"
            )


def val_balanced_accuracy(run: Run, classes: Sequence[str]) -> float:
    """Balanced accuracy of one run on the val images, in [0, 1]; it chooses the arm to recommend."""
    val = same_images([run], "val", classes)
    return balanced_accuracy(val.labels, probabilities(run, "val", classes))
