"""One layout of test lesions for every clinical number: measured as they are, drawn again, each lesion left out.

Letters: N images, C columns of `statistics.Design`, S seeds. A function of weights (N, C) answers for all columns
at once, so a number and its interval come out of the same matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.bootstrap import Design, lay_out
from components.statistics.intervals import Estimate, Interval, estimate

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
    """The labelled images of one split, and the columns in which all is measured."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,) lesion or patient
    design: Design
    confidence: float

    @property
    def weights(self) -> Array:
        """How often each image counts in each column, (N, C); column 0 is the images as they are."""
        return self.design.columns

    @cached_property
    def votes(self) -> Array:
        """The weights divided by the images of the group, (N, C): each lesion then has one vote."""
        _, member, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
        return np.asarray(self.weights / counts[member].astype(np.float32)[:, None])

    def estimate(self, by_seed: Array, bounds: tuple[float, float]) -> Estimate:
        """A number of S seeds in every column, (S, C), as its mean over seeds with both kinds of luck."""
        return estimate([self.design.split(values) for values in by_seed], self.design.strata, bounds)

    def interval(self, by_seed: Array, bounds: tuple[float, float]) -> Interval:
        """The mean over seeds with its interval over seeds and lesions at once, from (S, C)."""
        return self.estimate(by_seed, bounds).interval(self.confidence)

    def intervals(self, by_seed: Array, bounds: tuple[float, float]) -> tuple[Interval, ...]:
        """The same of M numbers at once, from (S, M, C)."""
        return tuple(self.interval(by_seed[:, place], bounds) for place in range(by_seed.shape[1]))


@dataclass(frozen=True)
class SeedPredictions:
    """The images of one split, and the probabilities that each seed gives them."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,)
    p: Sequence[Array]  # (N, K) a seed


def resample(labels: Array, groups: Array, resamples: int, confidence: float, rng: np.random.Generator) -> Resampled:
    """Lay out the images of one split; `rng` draws the groups again."""
    return Resampled(labels, groups, lay_out(groups, labels, resamples, rng), confidence)
