"""Coverage and false alarms of the decision procedure, on studies whose truth is known, and time of the bootstrap.

`python -m benchmarks evidence` times the bootstrap of every metric: 2,000 resamples, 2,000 test images, ten runs.
`python -m benchmarks.evidence [REPEATS]` simulates whole studies and prints the table of docs/deciding.md: how often
nominal 95 % intervals hold the truth, and how often an arm is called superior that is not.

Letters: N images, K classes, G lesions, S seeds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from scipy.stats import norm

from benchmarks.measure import Result, cpu_seconds, summarise
from components.comparison.measurements import RESAMPLED
from components.comparison.outcomes import AccuracyRegion, EstimatedDifference, judge
from components.statistics import intervals
from components.statistics.bootstrap import Design, Sample, make_design
from components.statistics.intervals import estimate
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.rule import Rule
from components.statistics.significance import holm

Array = npt.NDArray[Any]

COMMAND = "python -m benchmarks evidence"
RULE = Rule(confidence=0.95, margin=0.02, min_seeds=3)
UNKNOWN_GAP = EstimatedDifference(intervals.Interval(0.0, -np.inf, np.inf), 1.0)


@dataclass(frozen=True)
class World:
    """How predictions are simulated: logits are a skill at the right class, plus noise of five kinds."""

    name: str
    lesions: tuple[int, ...]  # of each class
    seeds: int
    training: float  # standard deviation of a seed's skill
    skill: float = 1.6
    shared: float = 0.8  # standard deviation: difficulty of a lesion for every model
    image: float = 0.6  # difficulty of an image for every model
    own: float = 0.7  # difficulty of a lesion for one model
    noise: float = 0.5  # difficulty of an image for one model
    most: int = 3  # images of a lesion: 1 to `most`


WORLDS = (
    World("no between-seed variance", (100, 60, 40), 3, 0.0),
    World("little between-seed variance", (100, 60, 40), 3, 0.1),
    World("much between-seed variance", (100, 60, 40), 3, 0.3),
    World("mostly between-seed variance", (100, 60, 40), 3, 0.45),
    World("very much between-seed variance", (100, 60, 40), 3, 0.8),
    World("five seeds", (100, 60, 40), 5, 0.2),
    World("few of one class", (150, 40, 12), 5, 0.1),
    World("one image a lesion", (150, 90, 60), 3, 0.1, most=1),
)


def draw_images(world: World, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels and lesions of N images."""
    classes = np.repeat(np.arange(len(world.lesions)), world.lesions)  # (G,)
    images = rng.integers(1, world.most + 1, len(classes))
    return np.repeat(classes, images), np.repeat(np.arange(len(classes)), images)


def answer(world: World, labels: Array, lesions: Array, skills: Array, rng: np.random.Generator) -> Array:
    """Probabilities (M, N, K) of M models with those skills, on the same images."""
    classes, count = len(world.lesions), lesions.max() + 1

    def noise(spread: float, *shape: int) -> Array:
        return spread * rng.standard_normal((*shape, classes))

    hard = noise(world.shared, count)[lesions] + noise(world.image, len(labels))  # (N, K)
    own = noise(world.own, len(skills), count)[:, lesions] + noise(world.noise, len(skills), len(labels))
    logits = skills[:, None, None] * np.eye(classes)[labels] + hard + own
    return np.asarray(softmax(logits, axis=-1))


def truth(world: World, models: int = 400, images: int = 2000) -> dict[str, float]:
    """Expected value of each metric: infinite lesions, infinite seeds."""
    rng = np.random.default_rng(99)
    shares = np.array(world.lesions) / sum(world.lesions)
    labels = np.repeat(np.arange(len(shares)), np.round(shares * images).astype(int))
    skills = world.skill + world.training * norm.ppf((np.arange(models) + 0.5) / models)
    found: dict[str, list[float]] = {name: [] for name in RESAMPLED}
    for skill in skills:
        (p,) = answer(world, labels, np.arange(len(labels)), np.array([skill]), rng)
        for name, values in found.items():
            values.append(RESAMPLED[name](labels, p))
    return {name: float(np.mean(values)) for name, values in found.items()}


def study(
    world: World, arms: int, resamples: int, rng: np.random.Generator
) -> tuple[Design, list[list[dict[str, Sample]]]]:
    """Equal arms on the same images: every metric of each arm and seed."""
    labels, lesions = draw_images(world, rng)
    design = make_design(lesions, labels, resamples, rng)
    skills = world.skill + world.training * rng.standard_normal(arms * world.seeds)
    samples = [
        {name: design.apply(metric, labels, p) for name, metric in RESAMPLED.items()}
        for p in answer(world, labels, lesions, skills, rng)
    ]
    return design, [samples[arm * world.seeds : (arm + 1) * world.seeds] for arm in range(arms)]


def simulate(world: World, repeats: int, resamples: int = 600, arms: int = 3) -> dict[str, float]:
    """Shares of studies: intervals that hold the truth, of each metric and of its paired difference, and alarms.

    `alarm` is a study in which any of the other arms is called superior to the first, after Holm; `alarm.one` that
    its first comparison alone would be.
    """
    known, rng = truth(world), np.random.default_rng(0)
    found: dict[str, list[bool]] = {}
    for _ in range(repeats):
        design, by_arm = study(world, arms, resamples, rng)
        for name in RESAMPLED:
            alone = estimate([seed[name] for seed in by_arm[0]], design.strata)
            apart = _difference(by_arm[1], by_arm[0], name, design)
            for key, one, true in ((name, alone, known[name]), (f"{name}.difference", apart, 0.0)):
                interval = one.interval(RULE.confidence)
                found.setdefault(key, []).append(interval.low <= true <= interval.high)
        alarms = [_differs(other, by_arm[0], design) for other in by_arm[1:]]
        adjusted = holm([p for p, _ in alarms])
        found.setdefault("alarm", []).append(
            any(_superior(p, each) for p, (_, each) in zip(adjusted, alarms, strict=True))
        )
        found.setdefault("alarm.one", []).append(_superior(*alarms[0]))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _difference(
    ours: list[dict[str, Sample]], theirs: list[dict[str, Sample]], name: str, design: Design
) -> intervals.Estimate:
    return estimate([mine[name] - its[name] for mine, its in zip(ours, theirs, strict=True)], design.strata)


def _differs(
    ours: list[dict[str, Sample]], theirs: list[dict[str, Sample]], design: Design
) -> tuple[float, intervals.Interval]:
    found = _difference(ours, theirs, "balanced_accuracy", design)
    return found.p_value(), found.interval(RULE.confidence)


def _superior(p: float, interval: intervals.Interval) -> bool:
    outcome = judge(EstimatedDifference(interval, p), UNKNOWN_GAP, RULE.min_seeds, RULE)
    return outcome.accuracy is AccuracyRegion.SUPERIOR


def ten_runs() -> tuple[Array, Array, Array]:
    """Labels and lesions of 2,000 images with HAM10000's mix of classes, and probabilities (10, N, K)."""
    rng = np.random.default_rng(0)
    world = World("", (893, 150, 147, 73, 44, 17, 10), 5, 0.2)
    classes = np.repeat(np.arange(7), world.lesions)  # (1334,)
    images = 1 + (rng.permutation(len(classes)) < 2000 - len(classes))
    labels, lesions = np.repeat(classes, images), np.repeat(np.arange(len(classes)), images)
    return labels, lesions, answer(world, labels, lesions, np.linspace(1.4, 1.8, 10), rng)


def bootstrap(labels: Array, lesions: Array, probabilities: Array) -> None:
    """The resampling of `compare` for ten runs, two arms of five seeds: intervals, paired differences and p-values."""
    design = make_design(lesions, labels, 2000, np.random.default_rng(0))
    samples: list[dict[str, Sample]] = []
    for p in probabilities:
        found = {name: design.apply(metric, labels, p) for name, metric in RESAMPLED.items()}
        by_class = sensitivity(labels, p, design.columns)
        samples.append(found | {f"{k}": design.split(row) for k, row in enumerate(by_class)})
    for name in samples[0]:
        for arm in (samples[:5], samples[5:]):
            estimate([seed[name] for seed in arm], design.strata).interval(0.95)
        apart = _difference(samples[:5], samples[5:], name, design)
        apart.interval(0.95), apart.p_value()


def run() -> list[Result]:
    given = ten_runs()
    bootstrap(*given)
    seconds = [cpu_seconds(lambda: bootstrap(*given)) for _ in range(5)]
    return [summarise("bootstrap_s", seconds, "< 20", "s", COMMAND)]


def main(repeats: int) -> None:
    names = {"balanced_accuracy": "balanced accuracy", "macro_auroc": "macro AUROC"}
    titles = [f"{names.get(name, name.replace('_', ' '))}{kind}" for name in RESAMPLED for kind in ("", ", paired")]
    print(f"| {repeats} studies each | {' | '.join(titles)} | superior, two arms | superior, one |")
    print("|---" * (len(titles) + 3) + "|")
    for world in WORLDS:
        shares = simulate(world, repeats)
        print(f"| {world.name} | " + " | ".join(f"{100 * share:.1f}" for share in shares.values()) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
