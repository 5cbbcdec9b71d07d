"""False claims and power of studies that are judged at planned looks, on studies whose truth is known.

`python -m benchmarks.looks [REPEATS]` prints the table of docs/methods.md. A difference of arm and reference is drawn
seed by seed, with a part that all looks share, since every look has the same test lesions; intervals are combined by
the formula of the comparison (`components.statistics.intervals.combined_reach`), without the bootstrap's skewness.

Letters: N studies, C comparisons with the same reference, S seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.intervals import combined_reach
from components.statistics.looks import look_levels

Array = npt.NDArray[Any]

MARGIN, LEVEL, PLANNED = 2.0, 0.05, (3, 5, 10)
"""Margin in points of balanced accuracy, level of the study, numbers of seeds of the looks."""


@dataclass(frozen=True)
class World:
    """How differences are drawn, in points of balanced accuracy."""

    name: str
    difference: float  # true
    by_seeds: float  # standard deviation of a seed of one arm
    by_lesions: float  # standard error of the difference that all seeds share
    lesions: float = 80.0  # degrees of freedom of that standard error
    comparisons: int = 2


EQUAL = (
    World("equal arms, seeds only", 0.0, 2.0, 0.0),
    World("equal arms, mostly seeds", 0.0, 2.0, 0.5),
    World("equal arms, both", 0.0, 2.0, 1.5),
    World("equal arms, mostly lesions", 0.0, 0.5, 1.5),
)
DIFFERENT = (
    World("4 points, little variance", 4.0, 1.0, 0.7, comparisons=1),
    World("4 points, more variance", 4.0, 2.0, 0.7, comparisons=1),
    World("4 points, much variance", 4.0, 3.0, 1.5, comparisons=1),
    World("8 points, much variance", 8.0, 3.0, 1.5, comparisons=1),
    World("equal arms, little variance", 0.0, 0.7, 0.4, comparisons=1),
)


def draw(world: World, seeds: int, studies: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Differences (N, C, S), and the estimated standard error of lesions (N, C)."""
    arms = world.by_seeds * rng.standard_normal((studies, world.comparisons + 1, seeds))
    shape = studies, world.comparisons
    noise = rng.standard_normal((studies, world.comparisons + 1)) * world.by_lesions / 2**0.5  # of each arm
    shared = noise[:, 1:] - noise[:, :1]  # (N, C) the reference is the same in all comparisons
    known = world.by_lesions * np.sqrt(rng.chisquare(world.lesions, shape) / world.lesions)
    return world.difference + arms[:, 1:] - arms[:, :1] + shared[..., None], known


def interval(found: Array, by_lesions: Array, lesions: float, alpha: float) -> tuple[Array, Array]:
    """Ends (N, C) of the intervals of differences (N, C, S) at confidence 1 - alpha."""
    seeds = found.shape[-1]
    by_seeds = found.std(-1, ddof=1) / seeds**0.5
    reach = combined_reach(by_lesions, by_seeds, lesions, seeds - 1, 1 - alpha)
    return found.mean(-1) - reach, found.mean(-1) + reach


def false_claims(world: World, planned: Sequence[int], levels: Sequence[float], studies: int, seed: int = 0) -> float:
    """Share of studies of equal arms in which any look calls any arm superior or inferior.

    Holm's correction rejects something exactly where the smallest p-value is at most alpha / C.
    """
    found, known = draw(world, planned[-1], studies, np.random.default_rng(seed))
    claimed = np.zeros(studies, bool)
    for seeds, level in zip(planned, levels, strict=True):
        low, high = interval(found[..., :seeds], known, world.lesions, level / world.comparisons)
        claimed |= ((low > 0) | (high < 0)).any(-1)
    return float(claimed.mean())


def decisions(
    world: World, planned: Sequence[int], levels: Sequence[float], studies: int, seed: int = 0
) -> tuple[float, float]:
    """Share of studies with one comparison that are decided, and the mean number of seeds that they take.

    A look decides where the interval is on one side of zero or of either margin, as the verdicts do.
    """
    found, known = draw(world, planned[-1], studies, np.random.default_rng(seed))
    used, decided = np.zeros(studies), np.zeros(studies, bool)
    for seeds, level in zip(planned, levels, strict=True):
        used[~decided] = seeds
        low, high = interval(found[..., :seeds], known, world.lesions, level)
        decided |= ((low > 0) | (high < 0) | (low >= -MARGIN) | (high <= MARGIN)).any(-1)
    return float(decided.mean()), float(used.mean())


def main(studies: int) -> None:
    planned = look_levels(PLANNED, LEVEL)
    print(f"| {studies:,} studies each | planned looks | every look at {LEVEL} | {PLANNED[-1]} seeds, one look |")
    print("|---|---|---|---|")
    for world in EQUAL:
        shares = [
            false_claims(world, PLANNED, planned, studies),
            false_claims(world, PLANNED, [LEVEL] * len(PLANNED), studies),
            false_claims(world, PLANNED[-1:], [LEVEL], studies),
        ]
        print(f"| {world.name} | " + " | ".join(_with_error(share, studies) for share in shares) + " |", flush=True)
    print(
        f"\n| {studies:,} studies each | decided, planned looks | seeds, mean | {PLANNED[-1]} seeds, one look "
        f"| {PLANNED[0]} seeds, one look |"
    )
    print("|---|---|---|---|---|")
    for world in DIFFERENT:
        decided, seeds = decisions(world, PLANNED, planned, studies)
        once, _ = decisions(world, PLANNED[-1:], [LEVEL], studies)
        first, _ = decisions(world, PLANNED[:1], [LEVEL], studies)
        cells = [_with_error(decided, studies), f"{seeds:.1f}", _with_error(once, studies), _with_error(first, studies)]
        print(f"| {world.name} | " + " | ".join(cells) + " |", flush=True)


def _with_error(share: float, studies: int) -> str:
    """In percent, with the Monte Carlo standard error."""
    return f"{100 * share:.2f} ± {100 * (share * (1 - share) / studies) ** 0.5:.2f}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)
