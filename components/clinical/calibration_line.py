"""Calibration intercept and slope of a binary event: malignancy, or one class against the rest.

A logistic regression on the log odds of the probability (Cox 1958; Van Calster et al. 2019).
Letters: N images, B groups of images, S seeds, C columns of resamples, M coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import csr_array

from components.statistics.intervals import Interval
from components.statistics.resampled import ANY, SHARE, Resampled
from components.statistics.weighting import weighted_mean

Array = npt.NDArray[Any]

NEWTON_STEPS = 25
CONVERGED = 1e-6
"""A step of every coefficient below which Newton's method stops: the next would be its square."""

LEAST_CURVATURE = 1e-6
"""Of the log likelihood; a flatter one has no maximum, as where the log odds separate the events."""

LARGEST_LOG_ODDS = 30.0
"""Log odds beyond which a probability is 0 or 1 within 1e-13; they are cut there, since the odds of 1 are infinite."""

LOG_ODDS_BINS = 150
"""Of equal width, in which the resamples of more images than MOST_EXACT are fitted."""

MOST_EXACT = 200
"""Images up to which every resample is fitted to single images."""


@dataclass(frozen=True)
class CalibrationLine:
    """The probability of an event against what happened, as log odds.

    A calibrated model has intercept 0, slope 1, and predicts as many events as happen.
    """

    intercept: Interval
    """Calibration in the large: added to the log odds, with slope 1; below zero: the probabilities are too high."""
    slope: Interval
    """Below 1: the probabilities are too extreme."""
    predicted: Interval
    """Mean probability."""
    observed: float
    """Share of images with the event."""


def measure_line(seeds: Sequence[Array], observed: Array, sample: Resampled) -> CalibrationLine:
    """The line of one arm's seeds.

    Args:
        seeds: (N,) probabilities of the event, one a seed.
        observed: (N,) bool, True where the event happened.
        sample: the images and their resamples.
    """
    fits = [calibration_line(p, observed, sample.weights) for p in seeds]
    means = np.stack([weighted_mean(p, sample.weights) for p in seeds])
    return CalibrationLine(
        intercept=sample.interval(np.stack([intercept for intercept, _ in fits]), ANY),
        slope=sample.interval(np.stack([slope for _, slope in fits]), ANY),
        predicted=sample.interval(means, SHARE),
        observed=float(weighted_mean(observed, sample.weights[:, :1])[0]),
    )


def log_odds(p: Array) -> Array:
    """Of probabilities, in [-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS]."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS))


def calibration_line(p: Array, observed: Array, weights: Array) -> tuple[Array, Array]:
    """Intercept with slope 1, and slope of a logistic regression on the log odds, each (C,).

    Column 0, the images as they are, is fitted exactly. With more than MOST_EXACT images the other columns are fitted
    to LOG_ODDS_BINS groups of images of nearly equal log odds, and the difference from the same fit of column 0 is
    added to the exact one: a hundredth of the time, and a change far below the width of an interval.

    Args:
        p: (N,) probabilities of the event.
        observed: (N,) bool.
        weights: (N, C) how often each image counts.

    Returns:
        NaN where a column has one kind of image only, all log odds are equal, or the log odds separate the events.
    """
    x, y = log_odds(p), observed.astype(bool)
    exact = _fit(x, y[:, None] * weights[:, :1], weights[:, :1])
    if weights.shape[1] == 1:
        return exact
    if len(x) <= MOST_EXACT:
        return _fit(x, y[:, None] * weights, weights)
    of_bin = np.unique(np.digitize(x, np.linspace(x.min(), x.max(), LOG_ODDS_BINS + 1)[1:-1]), return_inverse=True)[1]
    counts = np.bincount(of_bin)
    places = (of_bin, np.arange(len(x)))
    events, totals = (csr_array((each.astype(weights.dtype), places)) @ weights for each in (y, np.ones(len(x))))
    grouped = _fit(np.bincount(of_bin, weights=x) / counts, events, totals)
    intercept, slope = (whole[0] + each - each[0] for whole, each in zip(exact, grouped, strict=True))
    return intercept, slope


def _fit(x: Array, events: Array, totals: Array) -> tuple[Array, Array]:
    """Intercept with slope 1 and slope, (C,), of log odds (B,), weighted events (B, C) and weighted images (B, C)."""
    events, totals = events.astype(float), totals.astype(float)
    happened = events.sum(0)
    both = (happened > 0) & (happened < totals.sum(0))
    ones = np.ones((1, len(x)))
    offset = _maximise(ones, np.zeros(1), x, events, totals)
    line = _maximise(np.vstack([ones, x]), np.array([0.0, 1.0]), np.zeros(len(x)), events, totals)
    return np.where(both, offset[0], np.nan), np.where(both, line[1], np.nan)


def _maximise(design: Array, start: Array, fixed: Array, events: Array, totals: Array) -> Array:
    """Coefficients (M, C) of highest likelihood, for a design (M, B) and fixed log odds (B,); NaN where there is none.

    The first column starts at `start` (M,), where Newton's method fails in a trust region; the others start where it
    ends, which a resample is near.
    """
    alone = events[:, :1], totals[:, :1]
    first = _newton(design, start[:, None], fixed, *alone)
    if not np.isfinite(first).all():
        first = _newton(design, _search(design, start, fixed, *alone)[:, None], fixed, *alone)
    if totals.shape[1] == 1:
        return first
    others = np.where(np.isfinite(first), first, start[:, None])
    return _newton(design, np.tile(others, totals.shape[1]), fixed, events, totals)


def _search(design: Array, start: Array, fixed: Array, events: Array, totals: Array) -> Array:
    """Coefficients (M,) near the highest likelihood, by a trust region."""

    def loss(values: Array) -> float:
        scores = fixed + values @ design
        return float(totals[:, 0] @ np.logaddexp(0, scores) - events[:, 0] @ scores)

    def gradient(values: Array) -> Array:
        return np.asarray(-_derivatives(design, values[:, None], fixed, events, totals)[0][:, 0])

    def hessian(values: Array) -> Array:
        return np.asarray(_derivatives(design, values[:, None], fixed, events, totals)[1][0])

    return np.asarray(minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact").x)


def _newton(design: Array, values: Array, fixed: Array, events: Array, totals: Array) -> Array:
    """Newton's method from coefficients (M, C), in the columns that have not converged; NaN where one never does."""
    values, ridge = values.copy(), LEAST_CURVATURE / 1000 * np.eye(len(design))
    open_columns = np.arange(values.shape[1])
    for _ in range(NEWTON_STEPS):
        at = open_columns
        gradient, hessian = _derivatives(design, values[:, at], fixed, events[:, at], totals[:, at])
        step = np.clip(np.linalg.solve(hessian + ridge, gradient.T[:, :, None])[:, :, 0].T, -5, 5)  # (M, C)
        values[:, at] += step
        done = np.abs(step).max(0) < CONVERGED
        values[:, at[done & (np.linalg.eigvalsh(hessian)[:, 0] < LEAST_CURVATURE)]] = np.nan  # flat: no maximum
        open_columns = at[~done]
        if not len(open_columns):
            break
    values[:, open_columns] = np.nan
    return values


def _derivatives(design: Array, values: Array, fixed: Array, events: Array, totals: Array) -> tuple[Array, Array]:
    """Of the log likelihood at coefficients (M, C): its gradient (M, C), and minus its second derivative (C, M, M)."""
    scores = np.clip(fixed[:, None] + design.T @ values, -2 * LARGEST_LOG_ODDS, 2 * LARGEST_LOG_ODDS)  # (B, C)
    expected = 1 / (1 + np.exp(-scores))
    curvature = totals * expected * (1 - expected)
    pairs = [[(row * other) @ curvature for other in design] for row in design]  # of (C,)
    return design @ (events - totals * expected), np.moveaxis(np.array(pairs), 2, 0)
