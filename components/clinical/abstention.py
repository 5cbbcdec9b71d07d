"""Abstention: how often a model errs when it answers only the images of which it is most confident.

Risk is the share of wrong answers among the answered images, coverage the share of answered images. Confidence is the
probability of the predicted class. Letters: N images, S seeds, C columns of resamples, M coverages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.intervals import Interval
from components.statistics.resampled import SHARE, Resampled

Array = npt.NDArray[Any]

COVERAGES = np.linspace(0.05, 1, 20)
"""Shares of answered images at which the risk is reported."""

BLOCK = 128
"""Columns of resamples in one pass; bounds the memory."""


@dataclass(frozen=True)
class SelectivePrediction:
    """Errors among the answered images, most confident first."""

    area: Interval
    """Mean risk over all coverages: lower is better."""
    best_area: float
    """If the model had the same errors, and was least confident of them."""
    coverages: tuple[float, ...]
    risks: tuple[Interval, ...]
    """At each coverage."""
    promised: float
    """Coverage for which val chose a threshold."""
    coverage: Interval
    """That this threshold gives on test."""
    risk: Interval
    """That this threshold gives on test."""


@dataclass(frozen=True)
class RiskCoverage:
    """Risk of each seed in every column."""

    areas: Array  # (S, C)
    risks: Array  # (S, M, C) at COVERAGES


def risk_and_coverage(confidence: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """Risk and coverage when all images of at least a confidence are answered, one row a distinct value, (U, C) each.

    Images of equal confidence come together, since no threshold separates them.

    Args:
        confidence: (N,).
        wrong: (N,) bool, True where the predicted class is not the true one.
        weights: (N, C).
    """
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))  # (U,) the last of each value
    ordered = weights[order]  # integers: sums are exact in float32
    answered, errors = (np.cumsum(each, axis=0)[ends] for each in (ordered, ordered * wrong[order, None]))
    return errors / np.maximum(answered, 1).astype(np.float64), answered / answered[-1].astype(np.float64)


def area(risk: Array, coverage: Array) -> Array:
    """The mean risk over coverages, (C,) (AURC; Geifman, Uziel & El-Yaniv 2019, eq. 2)."""
    return np.asarray((risk * np.diff(coverage, axis=0, prepend=0)).sum(0))


def risk_at(risk: Array, coverage: Array, wanted: Array) -> Array:
    """Risk at the lowest coverage that is at least `wanted` (M,), (M, C)."""
    columns = [np.searchsorted(each, wanted - 1e-9) for each in np.ascontiguousarray(coverage.T)]
    below = np.stack(columns, axis=1).clip(max=len(risk) - 1)  # (M, C)
    return np.take_along_axis(risk, below, axis=0)


def coverage_threshold(confidence: Array, coverage: float) -> float:
    """The confidence that `coverage` of the images (N,) reach or exceed."""
    enough = int(np.ceil(coverage * len(confidence) - 1e-9))
    return float(np.sort(confidence)[::-1][enough - 1])


def best_area(wrong: Array) -> float:
    """The lowest possible area with these errors (N,): the wrong answers are the least confident ones."""
    perfect = risk_and_coverage(-np.arange(len(wrong)), np.sort(wrong), np.ones((len(wrong), 1)))
    return float(area(*perfect)[0])


def measure_risk_coverage(sample: Resampled, test: Sequence[Array]) -> RiskCoverage:
    """Area and risks of each seed in every column; `test` holds (N, K) probabilities a seed."""
    found = [_in_blocks(p.max(1), p.argmax(1) != sample.labels, sample.weights) for p in test]
    return RiskCoverage(np.stack([each for each, _ in found]), np.stack([each for _, each in found]))


def _in_blocks(confidence: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """(C,) and (M, C); a block of columns fits into the processor's cache."""
    starts = range(0, weights.shape[1], BLOCK)
    areas, risks = [], []
    for start in starts:
        curve = risk_and_coverage(confidence, wrong, weights[:, start : start + BLOCK])
        areas.append(area(*curve))
        risks.append(risk_at(*curve, COVERAGES))
    return np.concatenate(areas), np.concatenate(risks, axis=1)


def assess_abstention(
    sample: Resampled, val: Sequence[Array], test: Sequence[Array], curves: RiskCoverage, promised: float
) -> SelectivePrediction:
    """The risk at every coverage, and with the threshold at which val answers `promised` of its images.

    Args:
        sample: the test images and their resamples.
        val: (Nv, K) probabilities a seed, which choose the threshold.
        test: (N, K) probabilities a seed.
        curves: of the same test probabilities.
        promised: coverage, in (0, 1).
    """
    chosen = [coverage_threshold(p.max(1), promised) for p in val]
    answered = np.stack([p.max(1) >= line for p, line in zip(test, chosen, strict=True)])  # (S, N)
    wrong = np.stack([p.argmax(1) != sample.labels for p in test])
    return SelectivePrediction(
        area=sample.interval(curves.areas, SHARE),
        best_area=float(np.mean([best_area(each) for each in wrong])),
        coverages=tuple(COVERAGES.tolist()),
        risks=sample.intervals(curves.risks, SHARE),
        promised=promised,
        coverage=sample.share(answered, np.ones(len(sample.labels), bool)),
        risk=sample.share(wrong, answered),
    )
