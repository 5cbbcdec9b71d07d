"""Coverage of the interval of the crossing of two learning curves, on curves that are known.

`python -m benchmarks.crossing [REPEATS]` simulates studies of two arms and prints the table of docs/methods.md: how
often nominal 95 % intervals hold the true crossing and the true label saving, and how often a crossing is claimed of
arms that are equal.

Letters: N test lesions of two classes, S seeds, P shares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from components.label_efficiency.analysis import LEADING
from components.label_efficiency.crossing import (
    CurveComparison,
    ShareEstimate,
    ShareOutcome,
    compare_curves,
    draw_seed_noise,
)
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.resampled import resample

Array = npt.NDArray[Any]

SHARES = np.array([0.125, 0.25, 0.5, 1.0])
CROSSING = 0.35
GAIN = 0.02  # of the reference, a doubling of the lesions
CLAIMS = {ShareOutcome.WITHIN, ShareOutcome.BELOW}


@dataclass(frozen=True)
class CurveWorld:
    """A simulated world: accuracies straight in log2(share), 70 % where the curves meet."""

    name: str
    lesions: int
    seeds: int
    training: float  # standard deviation of a seed's accuracy
    slope: float = 0.08  # of the arm, a doubling; the reference's makes them equal
    meet: float = CROSSING  # the share

    @property
    def truth(self) -> dict[str, Array]:
        """Arm to accuracy at each share, (P,)."""
        doublings = np.log2(SHARES / self.meet)
        return {"arm": 0.7 + self.slope * doublings, "reference": 0.7 + GAIN * doublings}

    @property
    def enough(self) -> float:
        """The share with which the arm reaches what the reference reaches with all."""
        return float(self.meet * 2 ** ((self.truth["reference"][-1] - 0.7) / self.slope))


WORLDS = (
    CurveWorld("200 lesions, 3 seeds", 200, 3, 0.02),
    CurveWorld("200 lesions, 3 similar seeds", 200, 3, 0.005),
    CurveWorld("600 lesions, 3 seeds", 600, 3, 0.02),
    CurveWorld("200 lesions, 5 different seeds", 200, 5, 0.03),
    CurveWorld("equal arms", 200, 3, 0.02, slope=GAIN),
    CurveWorld("an advantage that ends with all", 200, 3, 0.02, slope=-0.02, meet=1.0),
)


def study(world: CurveWorld, resamples: int, rng: np.random.Generator) -> CurveComparison:
    """One simulated study; half of a lesion's difficulty is common to all models."""
    labels, common = np.arange(world.lesions) % 2, rng.normal(size=world.lesions)
    test = resample(labels, np.arange(world.lesions), resamples, 0.95, rng)

    def measure(truth: Array) -> Array:
        own = np.sqrt(0.5) * (common + rng.normal(size=(len(truth), world.lesions)))
        right = norm.cdf(own) < (truth + world.training * rng.normal(size=len(truth)))[:, None]  # (P, N)
        predicted = np.eye(2)[np.where(right, labels, 1 - labels)]  # (P, N, 2)
        return np.stack([balanced_accuracy(labels, p, test.weights) for p in predicted])

    arm, reference = (np.stack([measure(truth) for _ in range(world.seeds)]) for truth in world.truth.values())
    noise = draw_seed_noise(world.seeds, resamples, rng)
    return compare_curves("arm", LEADING, arm, reference, shares=SHARES, test=test, noise=noise, min_seeds=3)


def simulate(world: CurveWorld, repeats: int, resamples: int = 300) -> dict[str, float]:
    """Shares of studies in which each interval holds the truth, lies too high, and in which a crossing is claimed."""
    found = [study(world, resamples, np.random.default_rng([7, number])) for number in range(repeats)]

    def held(places: list[ShareEstimate], truth: float) -> float:
        return float(np.mean([place.low <= truth <= place.high for place in places]))

    places = [each.crossing for each in found]
    crossing = {"crossing": held(places, CROSSING), "too high": float(np.mean([p.low > CROSSING for p in places]))}
    return {
        **(crossing if world.slope > GAIN else dict.fromkeys(crossing, np.nan)),  # these cross nowhere within
        "enough": held([each.enough for each in found], world.enough) if world.slope > 0 else np.nan,
        "claimed": float(np.mean([place.outcome in CLAIMS for place in places])),
    }


def main(repeats: int) -> None:
    print("| world | crossing | too high | enough | claimed |\n|---|---|---|---|---|")
    for world in WORLDS:
        print(
            f"| {world.name} | " + " | ".join(f"{100 * each:.1f}" for each in simulate(world, repeats).values()) + " |"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
