"""Coverage and false alarms of a cross-validation's paired difference, on studies whose truth is known.

`python -m benchmarks.folds [REPEATS]` prints the table of docs/methods.md: how often three nominal 95 % intervals hold
the true difference of two unequal arms, and how often two equal arms are said to differ. The three are the corrected
resampled t, Student's t over folds without the correction, and the bootstrap of all lesions joined with seeds.

A lesion is classified correctly where a sum of normal terms is above zero, so the true accuracy has a closed form.
The effect of a train set is a sum over its blocks of lesions: two folds share it as far as their train sets overlap.
Letters: A arms, F folds, S seeds, G lesions, K classes, R resamples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from components.statistics.bootstrap import Design, make_design
from components.statistics.corrected_t import FoldMean, fold_mean
from components.statistics.intervals import Estimate, estimate

Array = npt.NDArray[Any]

CONFIDENCE = 0.95
BETTER = 0.15  # skill of the arm that is better
SKILL = 0.7
RULES = ("corrected t", "plain t", "bootstrap")


@dataclass(frozen=True)
class World:
    """How lesions are classified; all spreads are standard deviations in units of skill."""

    name: str
    train_set: float  # effect of the train set on an arm
    seed: float  # effect of a seed on one training
    folds: int = 5
    seeds: int = 3
    lesions: tuple[int, ...] = (150, 90, 60)  # of each class
    shared: float = 0.8  # difficulty of a lesion for every model
    own: float = 0.5  # difficulty of a lesion for one arm
    noise: float = 0.5  # difficulty of a lesion for one training

    @property
    def whole(self) -> float:
        """Standard deviation of all terms together."""
        return float(np.sqrt(self.train_set**2 + self.seed**2 + self.shared**2 + self.own**2 + self.noise**2))

    def truth(self, skill: float) -> float:
        """Expected balanced accuracy of an arm, over train sets, seeds and lesions."""
        return float(norm.cdf(skill / self.whole))

    @property
    def effect(self) -> float:
        """Standard deviation of the train set's effect on balanced accuracy, in points."""
        return float(100 * norm.pdf(SKILL / self.whole) / self.whole * self.train_set)


WORLDS = (
    World("no effect of the train set", train_set=0.0, seed=0.05),
    World("small effect of the train set", train_set=0.05, seed=0.05),
    World("moderate effect of the train set", train_set=0.1, seed=0.1),
    World("large effect of the train set", train_set=0.2, seed=0.1),
    World("one seed", train_set=0.05, seed=0.1, seeds=1),
    World("three folds", train_set=0.05, seed=0.05, folds=3),
    World("ten folds", train_set=0.05, seed=0.05, folds=10),
    World("five times the lesions", train_set=0.05, seed=0.05, lesions=(750, 450, 300)),
    World("few of one class", train_set=0.05, seed=0.05, lesions=(200, 75, 25)),
)


@dataclass(frozen=True)
class Rate:
    """Shares of simulated studies for one rule."""

    covered: float
    """Intervals that hold the true difference of unequal arms."""
    alarms: float
    """Equal arms that are said to differ, in either direction."""


def train_effects(world: World, arms: int, rng: np.random.Generator) -> Array:
    """(A, F) effect of each fold's train set: the blocks that are neither test (f) nor val (f + 1)."""
    blocks = rng.standard_normal((arms, world.folds))
    fold = np.arange(world.folds)
    block = fold[:, None]
    used = (block != fold) & (block != (fold + 1) % world.folds)  # (blocks, F)
    return np.asarray(world.train_set * blocks @ used / np.sqrt(world.folds - 2))


def answer(world: World, skills: Sequence[float], fold: Array, rng: np.random.Generator) -> Array:
    """(A, S, G) whether each lesion is classified correctly by the model of its fold; `fold` (G,)."""
    arms, count = len(skills), len(fold)
    skill = np.array(skills)[:, None] + train_effects(world, arms, rng)  # (A, F)
    trained = skill[:, None] + world.seed * rng.standard_normal((arms, world.seeds, world.folds))  # (A, S, F)
    hard = world.shared * rng.standard_normal(count) + world.own * rng.standard_normal((arms, 1, count))
    noise = world.noise * rng.standard_normal((arms, world.seeds, count))
    return np.asarray(trained[:, :, fold] + hard + noise > 0)


def by_class(values: Array, labels: Array, weights: Array) -> Array:
    """(S, C) mean over classes of the weighted mean of values (S, G), with weights (G, C)."""
    parts = [values[:, labels == k] @ weights[labels == k] / weights[labels == k].sum(0) for k in np.unique(labels)]
    return np.asarray(np.mean(parts, axis=0))


def study(world: World, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Labels (G,), folds (G,) and, for an equal and a better arm minus the first, differences (2, S, G)."""
    labels = np.repeat(np.arange(len(world.lesions)), world.lesions)
    fold = np.concatenate([rng.permutation(count) % world.folds for count in world.lesions])
    right = answer(world, (SKILL, SKILL, SKILL + BETTER), fold, rng).astype(float)
    return labels, fold, right[1:] - right[0]


def judge(
    world: World, labels: Array, fold: Array, difference: Array, design: Design | None
) -> dict[str, tuple[float, float]]:
    """Ends of the interval by rule; `difference` (S, G). Zero is outside where p is below 1 minus the confidence."""
    inside = (fold[:, None] == np.arange(world.folds)).astype(float)  # (G, F)
    by_fold = by_class(difference, labels, inside).mean(0)  # (F,) averaged over seeds
    found: dict[str, FoldMean | Estimate] = {
        "corrected t": fold_mean(by_fold, 1 / (world.folds - 2)),
        "plain t": fold_mean(by_fold, 0.0),
    }
    if design is not None:
        samples = [design.split(row) for row in by_class(difference, labels, design.columns)]
        found["bootstrap"] = estimate(samples, design.strata)
    ends = {name: each.interval(CONFIDENCE) for name, each in found.items()}
    return {name: (each.low, each.high) for name, each in ends.items()}


def simulate(world: World, repeats: int, resamples: int = 200) -> dict[str, Rate]:
    """Coverage and false alarms of each rule over simulated studies; without the bootstrap for `resamples` 0."""
    rng, drawn = np.random.default_rng(0), np.random.default_rng(1)
    true = world.truth(SKILL + BETTER) - world.truth(SKILL)
    covered: dict[str, list[bool]] = {name: [] for name in RULES}
    alarms: dict[str, list[bool]] = {name: [] for name in RULES}
    for _ in range(repeats):
        labels, fold, differences = study(world, rng)
        design = make_design(np.arange(len(labels)), labels, resamples, drawn) if resamples else None
        equal, better = (judge(world, labels, fold, each, design) for each in differences)
        for name, (low, high) in better.items():
            covered[name].append(low <= true <= high)
            alarms[name].append(not equal[name][0] <= 0 <= equal[name][1])
    return {name: Rate(float(np.mean(covered[name])), float(np.mean(alarms[name]))) for name in RULES if covered[name]}


def main(repeats: int) -> None:
    """Fewer studies for the bootstrap, which takes a hundred times as long."""
    titles = " | ".join(f"{name}: covered | alarms" for name in RULES)
    print(f"| {repeats} studies, bootstrap {repeats // 15} | effect, points | {titles} |")
    print("|---" * (2 + 2 * len(RULES)) + "|")
    for world in WORLDS:
        found = simulate(world, repeats, resamples=0) | {"bootstrap": simulate(world, repeats // 15)["bootstrap"]}
        rates = [rate for each in found.values() for rate in (each.covered, each.alarms)]
        print(
            f"| {world.name} | {world.effect:.1f} | " + " | ".join(f"{100 * rate:.1f}" for rate in rates) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
