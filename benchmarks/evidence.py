"""Coverage and false alarms of the decision procedure, on studies whose truth is known, and time of the bootstrap.

`python -m benchmarks evidence` times the bootstrap of every metric (2,000 resamples, 2,000 test images, ten runs), and
the pooled comparison of a cross-validation (2,000 resamples, five folds with 2,000 test images and ten runs each).
`python -m benchmarks.evidence [REPEATS]` simulates whole studies and prints the table of docs/methods.md: how often
nominal 95 % intervals hold the truth, and how often an arm is called superior that is not.

Letters: N images, K classes, G lesions, S seeds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax
from scipy.stats import norm

from benchmarks.measure import Result, cpu_seconds, summarise
from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.measurements import RESAMPLED
from components.comparison.outcomes import AccuracyRegion, EstimatedDifference, judge
from components.cross_validation.analysis import pool_folds
from components.cross_validation.folds import Fold
from components.statistics import intervals
from components.statistics.bootstrap import Design, Sample, make_design
from components.statistics.intervals import estimate
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.prior import Priors
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from components.statistics.runs import FINGERPRINTS, Run
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


CLASSES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
QUESTION = StudyQuestion(
    study="benchmark", arms=("imagenet", "vae"), protocols=(FinetuneProtocol.FROZEN,), seeds=tuple(range(5)),
    reference="imagenet", classes=CLASSES, rule=RULE, resamples=2000, seed=0, synthetic=False,
)  # fmt: skip


def five_folds() -> list[Fold]:
    """Folds of 2,000 test images each, with two arms of five seeds as of `ten_runs`."""
    labels, lesions, probabilities = ten_runs()
    shares = np.bincount(labels) / len(labels)
    ids = [RunId(arm, FinetuneProtocol.FROZEN, seed) for arm, seed in product(QUESTION.arms, QUESTION.seeds)]
    curve = pd.DataFrame({"epoch": np.arange(1, 16), "gap/loss": np.linspace(0, 0.2, 15)})
    folds = []
    for number in range(5):
        images = {
            "image_id": [f"{number}_{row:05}" for row in range(len(labels))],
            "group": [f"{number}_{lesion:05}" for lesion in lesions],
            "split": "test",
            "label": np.array(CLASSES)[labels],
        }
        runs = [
            Run(
                each,
                pd.DataFrame(images | {f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)}),
                curve=curve,
                summary={key: f"{number} {each.conditions}" for key in FINGERPRINTS},
            )
            for each, p in zip(ids, probabilities, strict=True)
        ]
        folds.append(Fold(number, runs, Priors(shares, shares), train_lesions=3 * len(set(lesions))))
    return folds


def run() -> list[Result]:
    given, folds = ten_runs(), five_folds()
    labelled = [name for fold in folds for name in fold.runs[0].predictions["image_id"]]
    ways = {
        "bootstrap_s": lambda: bootstrap(*given),
        "bootstrap_folds_s": lambda: pool_folds(folds, QUESTION, labelled, SilentLog()),
    }
    found = []
    for name, way in ways.items():
        way()
        found.append(summarise(name, [cpu_seconds(way) for _ in range(5)], "< 20", "s", COMMAND))
    return found


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
