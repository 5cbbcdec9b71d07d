"""The corrected resampled t test: a mean over the folds of a cross-validation, whose train sets overlap.

Values of folds are not independent: two folds share most of their train lesions, so the variance over folds divided by
their number is too small. Nadeau and Bengio (Inference for the generalization error, Machine Learning 52:239-281, 2003,
section 5.2) replace 1 / k by 1 / k + n_test / n_train, and keep Student's t with k - 1 degrees of freedom.
Assumption: the correlation of two folds is n_test / (n_test + n_train). No estimator of the variance is unbiased for
every correlation (Bengio & Grandvalet 2004), so coverage is simulated: `python -m benchmarks.folds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from components.statistics.intervals import EPSILON, UNBOUNDED, Interval
from components.statistics.weighting import Array


@dataclass(frozen=True)
class FoldMean:
    """A mean over folds with its corrected standard error."""

    mean: float
    error: float
    """Standard error; infinite where it is not known."""
    freedom: int
    """Degrees of freedom: folds minus one."""
    bounds: tuple[float, float] = UNBOUNDED

    def interval(self, confidence: float) -> Interval:
        """Student's t interval, inside the bounds; unbounded where the standard error is not known."""
        if not np.isfinite(self.error):
            return Interval(self.mean, -np.inf, np.inf)
        reach = float(student.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return Interval(self.mean, max(self.mean - reach, self.bounds[0]), min(self.mean + reach, self.bounds[1]))

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of: the expected value is `null`; 1 where the standard error is not known."""
        if not np.isfinite(self.error):
            return 1.0
        return float(2 * student.sf(abs(self.mean - null) / self.error, self.freedom))


def fold_mean(values: Array, test_by_train: float, bounds: tuple[float, float] = UNBOUNDED) -> FoldMean:
    """A mean over folds by the corrected resampled t test.

    Args:
        values: (F,) one a fold: of an arm, or a paired difference, each already averaged over seeds.
        test_by_train: n_test / n_train of a fold, in lesions; 0 gives the uncorrected t test.
        bounds: of the values; the interval stays inside.

    Returns:
        The mean. Its standard error is infinite for a single fold, and where a value is not finite or all values are
        equal up to rounding: no variance over folds is known then, and a p-value of zero would be false.
    """
    values = np.asarray(values, float)
    mean, folds = float(values.mean()), len(values)
    spread = float(values.std(ddof=1)) if folds > 1 else float("nan")
    rounding = 8 * EPSILON * max(1.0, float(np.abs(values).max()))
    known = np.isfinite(spread) and spread > rounding
    error = float(spread * np.sqrt(1 / folds + test_by_train)) if known else float("inf")
    return FoldMean(mean, error, folds - 1, bounds)
