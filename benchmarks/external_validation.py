"""Coverage of the intervals of drops on an external test set, on pairs of sets whose truth is known.

`python -m benchmarks.external_validation [REPEATS]` simulates studies, each with an internal and an external test set
that share only the models, and prints the table of docs/methods.md: how often nominal 95 % intervals of the
drop hold the truth, also those of the drop minus the reference's, and how often a difference is claimed where the arms
are equal.

Letters: N images, K classes, G lesions, S seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.evidence import World, answer, draw_images
from components.clinical import calibration
from components.clinical.debiased_error import debiased_squared_errors
from components.external_validation.analysis import COMPARED
from components.statistics import intervals
from components.statistics.bootstrap import Sample, make_design
from components.statistics.intervals import estimate
from components.statistics.significance import holm
from components.statistics.two_sets import joint_strata, set_difference
from components.statistics.weighting import unit_weights

Array = npt.NDArray[Any]

BINS = 15
CONFIDENCE = 0.95
NAMES = ("balanced_accuracy", "macro_auroc", "accuracy", "log_loss", "calibration_squared")

PAIRS = {  # internal and external: the skill and the class distribution differ, seeds are the same models
    "a drop, little from seeds": (World("", (100, 60, 40), 3, 0.1), World("", (40, 60, 60), 3, 0.1, skill=1.0)),
    "a drop, much from seeds": (World("", (100, 60, 40), 3, 0.3), World("", (40, 60, 60), 3, 0.3, skill=1.0)),
    "no drop": (World("", (100, 60, 40), 3, 0.1), World("", (100, 60, 40), 3, 0.1)),
    "a small external set": (World("", (150, 90, 60), 3, 0.1), World("", (15, 15, 15), 3, 0.1, skill=1.2)),
    "a large external set": (World("", (60, 30, 15), 3, 0.1), World("", (200, 150, 150), 3, 0.1, skill=1.2)),
    "seeds with different drops": (World("", (100, 60, 40), 3, 0.1), World("", (60, 60, 60), 3, 0.4, skill=1.0)),
}


def metric_of(name: str, lesions: Array) -> Callable[[Array, Array, Array], Array]:
    """The metric as a function of labels, probabilities and weights."""
    return _calibration_errors(lesions) if name == "calibration_squared" else COMPARED[name]


def _calibration_errors(lesions: Array) -> Callable[[Array, Array, Array], Array]:
    def measure(labels: Array, p: Array, weights: Array) -> Array:
        predicted, observed = calibration.top_class(labels, p)
        return debiased_squared_errors(predicted, observed, calibration.equal_mass(predicted, BINS), lesions, weights)

    return measure


def truth(world: World, models: int = 200, images: int = 2000) -> dict[str, float]:
    """Expected value of each metric: infinite lesions, infinite seeds."""
    rng = np.random.default_rng(99)
    shares = np.array(world.lesions) / sum(world.lesions)
    labels = np.repeat(np.arange(len(shares)), np.round(shares * images).astype(int))
    lesions, found = np.arange(len(labels)), {name: [] for name in NAMES}
    for skill in world.skill + world.training * norm.ppf((np.arange(models) + 0.5) / models):
        (p,) = answer(world, labels, lesions, np.array([skill]), rng)
        for name, values in found.items():
            values.append(float(metric_of(name, lesions)(labels, p, unit_weights(len(p)))[0]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def study(
    worlds: tuple[World, World], arms: int, resamples: int, rng: np.random.Generator
) -> tuple[Array, list[list[dict[str, Sample]]]]:
    """Strata, and the drop of every metric of each arm and seed; arms are equal."""
    seeds = worlds[0].seeds
    effects, samples, designs = rng.standard_normal(arms * seeds), [], []
    for world in worlds:
        labels, lesions = draw_images(world, rng)
        design = make_design(lesions, labels, resamples, rng)
        answers = answer(world, labels, lesions, world.skill + world.training * effects, rng)
        samples.append([{n: design.apply(metric_of(n, lesions), labels, p) for n in NAMES} for p in answers])
        designs.append(design)
    drops = [{n: set_difference(there[n], here[n]) for n in NAMES} for here, there in zip(*samples, strict=True)]
    return joint_strata(designs[1].strata, designs[0].strata), [
        drops[arm * seeds : (arm + 1) * seeds] for arm in range(arms)
    ]


def simulate(
    worlds: tuple[World, World], repeats: int, resamples: int = 600, arms: int = 3, models: int = 200
) -> dict[str, float]:
    """Shares of studies: intervals of the drop that hold the truth, those against the reference's, and alarms.

    `alarm` is a study that claims, after Holm, that the drop of any other arm differs from that of the first.
    """
    here, there = (truth(world, models) for world in worlds)
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = {}
    for _ in range(repeats):
        strata, by_arm = study(worlds, arms, resamples, rng)
        for name in NAMES:
            alone = estimate([seed[name] for seed in by_arm[0]], strata)
            paired = _against(by_arm[1], by_arm[0], name, strata)
            for key, one, true in ((name, alone, there[name] - here[name]), (f"{name}.against", paired, 0.0)):
                interval = one.interval(CONFIDENCE)
                found.setdefault(key, []).append(interval.low <= true <= interval.high)
        p = [_against(arm, by_arm[0], "balanced_accuracy", strata).p_value() for arm in by_arm[1:]]
        found.setdefault("alarm", []).append(min(holm(p)) <= 1 - CONFIDENCE)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _against(
    ours: list[dict[str, Sample]], theirs: list[dict[str, Sample]], name: str, strata: Array
) -> intervals.Estimate:
    return estimate([mine[name] - its[name] for mine, its in zip(ours, theirs, strict=True)], strata)


def main(repeats: int) -> None:
    titles = [f"{name.replace('_', ' ')}{kind}" for name in NAMES for kind in ("", ", against")]
    print(f"| {repeats} studies each | {' | '.join(titles)} | difference claimed |")
    print("|---" * (len(titles) + 2) + "|")
    for name, worlds in PAIRS.items():
        shares = simulate(worlds, repeats)
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares.values()) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
