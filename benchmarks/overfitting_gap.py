"""Coverage and false alarms of the overfitting gap, on simulated studies whose true gaps are known.

`python -m benchmarks.overfitting_gap [REPEATS]` prints the table of docs/methods.md: how often nominal 95 % intervals
hold the true gap of an arm and the true difference of two arms, and how often arms with equal gaps are called
different, by the interval over seeds and lesions and by the paired t test over seeds alone.

Losses of images are drawn directly: their logarithm is normal, with effects of the lesion that all models share, of the
lesion for one arm, of the lesion for one model, and of the image. Letters: G lesions, N images, S seeds, K classes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.epoch_images import EpochImages
from components.comparison.overfitting_gap import DECIDING_GAP, GAPS, paired
from components.comparison.resampled_gap import ResampledGaps
from components.statistics.bootstrap import strata_of
from components.statistics.class_means import LesionResamples
from components.statistics.runs import Run
from components.training.examples import matched_rows

Array = npt.NDArray[Any]

CONFIDENCE = 0.95
ARMS = ("arm", "reference")
WEIGHTS = np.ones((1, 1))  # of the only epoch


@dataclass(frozen=True)
class World:
    """How losses are simulated; standard deviations are of the logarithm of the loss."""

    name: str
    seeds: int
    val: tuple[int, ...] = (240, 150, 90)  # lesions of each class
    pool: int = 3  # train lesions for each val lesion
    gaps: tuple[float, float] = (0.3, 0.3)  # of arm and reference, nats, in the easiest class
    shared: float = 0.6  # difficulty of a lesion for every model
    arm: float = 0.35  # for one arm, in all its seeds
    model: float = 0.3  # for one model
    image: float = 0.5
    training: float = 0.05  # a seed's level of val and train loss
    most: int = 3  # images of a lesion: 1 to `most`

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of a loss within a model."""
        return float(np.sqrt(self.shared**2 + self.arm**2 + self.model**2 + self.image**2))

    def levels(self, side: int, split: str) -> Array:
        """(K,) expected loss of an arm in each class, nats."""
        val = 0.6 + 0.3 * np.arange(len(self.val))
        return val * (1 - self.gaps[side] / 0.6 * (split == "train"))


FEW = (80, 50, 30)

WORLDS = (
    World("equal gaps, 160 val lesions", 3, val=FEW),
    World("equal gaps, 160 val lesions", 5, val=FEW),
    World("equal gaps, 160 val lesions", 10, val=FEW),
    World("equal gaps, 160 val lesions, seeds differ much", 3, val=FEW, training=0.15),
    World("equal gaps, 480 val lesions", 3),
    World("equal gaps, 480 val lesions", 5),
    World("equal gaps, 480 val lesions", 10),
    World("equal gaps, few of one class", 5, val=(300, 168, 12)),
    World("unequal gaps, 480 val lesions", 5, gaps=(0.15, 0.3)),
)


def draw_set(lesions: tuple[int, ...], most: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels and lesions of N images."""
    classes = np.repeat(np.arange(len(lesions)), lesions)
    images = rng.integers(1, most + 1, len(classes))
    return np.repeat(classes, images), np.repeat(np.arange(len(classes)), images)


def draw_study(world: World, resamples: int, rng: np.random.Generator) -> tuple[ResampledGaps, list[list[Run]]]:
    """Runs of both arms, seed by seed, and the resamples of their images."""
    pool = tuple(world.pool * lesions for lesions in world.val)
    sets = {"val": draw_set(world.val, world.most, rng), "train": draw_set(pool, world.most, rng)}
    rows = [
        {
            "val": np.arange(len(sets["val"][0])),
            "train": matched_rows(sets["train"][0], sets["val"][0], int(rng.integers(2**31))),
        }
        for _ in range(world.seeds)
    ]
    images: dict[str, dict[str, EpochImages]] = {}
    runs = [[_run(arm, seed) for seed in range(world.seeds)] for arm in ARMS]
    for split, (labels, lesions) in sets.items():
        shared = world.shared * rng.standard_normal(lesions.max() + 1)
        for side, own_runs in enumerate(runs):
            own = shared + world.arm * rng.standard_normal(len(shared))
            for run, drawn in zip(own_runs, rows, strict=True):
                at = drawn[split]
                effects = own + world.model * rng.standard_normal(len(own))
                noise = effects[lesions[at]] + world.image * rng.standard_normal(len(at))
                level = np.log(world.levels(side, split))[labels[at]] - world.spread**2 / 2
                seed = world.training * rng.standard_normal() - world.training**2 / 2
                found = EpochImages(
                    names=at,
                    groups=lesions[at],
                    labels=labels[at],
                    losses=np.exp(level + noise + seed)[:, None],
                    wrong=(level + noise + seed > np.log(np.log(2)))[:, None].astype(float),
                )
                images.setdefault(run.name, {})[split] = found
    drawn_sets = {
        split: _resample(lesions[used], labels[used], resamples, rng)
        for split, (labels, lesions) in sets.items()
        for used in [np.unique(np.concatenate([each[split] for each in rows]))]
    }
    return ResampledGaps(drawn_sets["val"], drawn_sets["train"], images, len(world.val), CONFIDENCE), runs


def _resample(lesions: Array, labels: Array, resamples: int, rng: np.random.Generator) -> LesionResamples:
    """As `LesionResamples.draw`, whose multinomial draws would take half of the simulation's time."""
    names, first = np.unique(lesions, return_index=True)
    strata = strata_of(lesions, labels)[first]
    counts = np.zeros((len(names), resamples), np.float32)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        cells = rng.integers(len(rows), size=(len(rows), resamples)) + len(rows) * np.arange(resamples)
        counts[rows] = np.bincount(cells.ravel(), minlength=len(rows) * resamples).reshape(resamples, -1).T
    return LesionResamples(names, strata, counts)


def _run(arm: str, seed: int) -> Run:
    curve = pd.DataFrame({key: [0.0] for key in GAPS})
    return Run(RunId(arm, FinetuneProtocol.FULL, seed), pd.DataFrame(), curve=curve)


def truth(world: World, shares: Array) -> dict[str, tuple[float, float]]:
    """True gaps of both arms, with infinite lesions and seeds, by quantity."""
    spread = np.hypot(world.spread, world.training)

    def gap(side: int, quantity: str) -> float:
        val, train = (world.levels(side, split) for split in ("val", "train"))
        if quantity == "loss":
            return float(shares @ (val - train))
        wrong = [norm.sf((np.log(np.log(2)) - np.log(each) + spread**2 / 2) / spread) for each in (val, train)]
        weights = shares if quantity == "accuracy" else np.full(len(shares), 1 / len(shares))
        return float(weights @ (wrong[0] - wrong[1]))

    return {f"gap/{name}": (gap(0, name), gap(1, name)) for name in ("loss", "accuracy", "balanced_accuracy")}


def simulate(world: World, repeats: int, resamples: int = 400, seed: int = 0) -> dict[str, float]:
    """Shares of studies: intervals that hold the truth, and differences from zero that are significant.

    `NAME` and `NAME.difference` are coverages, `different` a significant difference of the deciding gap,
    `different.seeds` the same by the paired t test over seeds.
    """
    rng, found = np.random.default_rng(seed), dict[str, list[bool]]()
    for _ in range(repeats):
        gaps, runs = draw_study(world, resamples, rng)
        samples = [[gaps.measure(run, WEIGHTS)[0] for run in side] for side in runs]
        labels = gaps.images[runs[0][0].name]["val"].labels
        shares = np.bincount(labels) / len(labels)
        for name, (ours, theirs) in truth(world, shares).items():
            arm, reference = ([each[name] for each in side] for side in samples)
            differences = [mine - its for mine, its in zip(arm, reference, strict=True)]
            alone, apart = gaps.interval(arm), gaps.interval(differences)
            found.setdefault(name, []).append(alone.low <= ours <= alone.high)
            found.setdefault(f"{name}.difference", []).append(apart.low <= ours - theirs <= apart.high)
            if name == DECIDING_GAP:  # p is at most alpha where the interval excludes zero
                by_seed = paired(np.array([each.value for each in differences]), CONFIDENCE).interval
                for key, interval in (("different", apart), ("different.seeds", by_seed)):
                    found.setdefault(key, []).append(interval.low > 0 or interval.high < 0)
    return {key: float(np.mean(values)) for key, values in found.items()}


def main(repeats: int) -> None:
    titles = ("loss", "difference", "accuracy", "difference", "balanced accuracy", "difference")
    print(f"| {repeats} studies each | seeds | {' | '.join(titles)} | called different | by seeds alone |")
    print("|---" * (len(titles) + 4) + "|")
    for world in WORLDS:
        shares = simulate(world, repeats)
        different = [f"{100 * shares.pop(key):.1f}" for key in ("different", "different.seeds")]
        cells = [f"{100 * share:.1f}" for share in shares.values()]
        print(f"| {world.name} | {world.seeds} | {' | '.join([*cells, *different])} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
