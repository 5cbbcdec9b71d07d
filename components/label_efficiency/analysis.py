"""What labels are worth: accuracy by the number of train lesions, and where one arm's curve crosses another's.

Letters: P shares of the train lesions (the last is all of them), S seeds, C columns of `statistics.Design` (the test
lesions as they are, R times drawn again, each left out), R draws. Between two shares a curve is a straight line over
log2(share); outside the shares that were tried nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.errors import DataError
from components.base.json_data import plain
from components.statistics import intervals
from components.statistics.intervals import Interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled, resample
from components.statistics.runs import Run, check_conditions, probabilities, same_images

Array = npt.NDArray[Any]

METRICS = {"balanced_accuracy": balanced_accuracy, "macro_auroc": macro_auroc}

LEADING = "balanced_accuracy"
"""The metric that verdicts rest on."""
"""Functions of components.statistics.intervals; the first is what answers speak of."""


OUTSIDE = {-np.inf: "below", np.inf: "beyond"}
"""A place that is not among the shares tried, as the record has it."""


class Outcome(StrEnum):
    """What is known of a place on the axis of shares."""

    WITHIN = "within the range"
    BELOW = "below the smallest share"
    BEYOND = "not with all lesions"
    OPEN = "not decided"
    TOO_FEW_SEEDS = "not decided: too few seeds"


@dataclass(frozen=True)
class EfficiencyPlan:
    """What is asked, and how sure an answer must be."""

    study: str
    protocol: str
    arms: tuple[str, ...]
    reference: str
    classes: tuple[str, ...]
    shares: tuple[float, ...]  # (P,) of the train lesions that are asked, rising; the last is 1
    seeds: tuple[int, ...]
    budget: str  # steps or epochs
    confidence: float
    min_seeds: int  # fewer decide nothing
    resamples: int
    seed: int
    synthetic: bool

    @property
    def challengers(self) -> tuple[str, ...]:
        """The arms that the reference is compared with."""
        return tuple(arm for arm in self.arms if arm != self.reference)


@dataclass(frozen=True)
class Point:
    """One arm with one share of the train lesions: means over seeds on test images, by metric."""

    arm: str
    share: float  # that is asked
    lesions: int  # to learn from
    scores: dict[str, Interval]
    differences: dict[str, Interval]  # minus the reference with as many lesions, paired; none for the reference


@dataclass(frozen=True)
class Place:
    """A share of the train lesions with its interval; -inf is below the smallest share, inf above all lesions."""

    share: float  # where the means have it
    low: float
    high: float
    below: float  # share of draws that have it below the smallest share
    beyond: float  # share of draws that have it above all lesions
    outcome: Outcome

    @property
    def outside(self) -> float:
        """Share of draws that have it nowhere within the range."""
        return self.below + self.beyond


@dataclass(frozen=True)
class Answer:
    """One arm against the reference in one metric."""

    arm: str
    metric: str
    ahead: bool  # with all lesions, on the means: which way the curves cross
    crossing: Place  # with a larger share the arm is what `ahead` says, with a smaller one the opposite
    turns: int  # times that the mean curves cross as they are
    enough: Place  # the share with which the arm reaches what the reference reaches with all lesions


@dataclass(frozen=True)
class Efficiency:
    """The learning curves over lesions, and what follows from them."""

    plan: EfficiencyPlan
    points: tuple[Point, ...]
    answers: tuple[Answer, ...]
    lesions: tuple[int, ...]  # (P,) to learn from; the last is all
    test_images: int
    test_lesions: int
    fingerprints: dict[str, dict[str, str]]

    @property
    def train_lesions(self) -> int:
        """All that there are to learn from."""
        return self.lesions[-1]


def assess(runs: Sequence[Run], plan: EfficiencyPlan) -> Efficiency:
    """All numbers from every run of the plan: an arm, a seed and a share each, with predictions of the test images.

    Raises DataError where a run is missing, or where arms differ in more than the encoder.
    """
    lesions = _lesions(runs)
    prints = check_conditions(runs)
    images = same_images(runs, "test", plan.classes)
    rng = np.random.default_rng(plan.seed)
    test = resample(images.labels, images.groups, plan.resamples, plan.confidence, rng)
    luck = draw_luck(len(plan.seeds), plan.resamples, rng)
    measured = {metric: _measure(runs, plan, test, metric) for metric in METRICS}
    counts = [lesions[share] for share in plan.shares]
    reached = np.array(counts) / counts[-1]  # a little off what was asked: classes keep two lesions
    return Efficiency(
        plan=plan,
        points=_points(measured, plan, test, lesions),
        answers=tuple(
            answer(arm, metric, sheet[arm], sheet[plan.reference], reached, plan, test, luck)
            for metric, sheet in measured.items()
            for arm in plan.challengers
        ),
        lesions=tuple(counts),
        test_images=len(images.labels),
        test_lesions=len(np.unique(images.groups)),
        fingerprints=prints,
    )


def _lesions(runs: Sequence[Run]) -> dict[float, int]:
    """Share to the number of train lesions, from what the runs wrote down."""
    found = {run.id.share: int(run.summary["lesions"]) for run in runs if run.id.share < 1}
    totals = {int(run.summary["all_lesions"]) for run in runs if run.id.share < 1}
    if len(totals) != 1:
        raise DataError(
            f"metrics of learn runs tell of {sorted(totals)} train lesions in all, expected one number; "
            "repeat: dvc repro -f learn"
        )
    return {**found, 1.0: totals.pop()}


def _measure(runs: Sequence[Run], plan: EfficiencyPlan, test: Resampled, metric: str) -> dict[str, Array]:
    """Each arm's metric in every column, (S, P, C)."""
    by_key = {(run.arm, run.seed, run.id.share): run for run in runs}
    measure = METRICS[metric]

    def column(arm: str, seed: int, share: float) -> Array:
        if (arm, seed, share) not in by_key:
            raise DataError(
                f"no predictions of {arm}-{plan.protocol}-{seed} with share {share:g} of the train lesions, expected "
                f"for every seed of label_efficiency.seeds (params.yaml) {list(plan.seeds)}; run: "
                "dvc repro label_efficiency"
            )
        found = probabilities(by_key[arm, seed, share], "test", plan.classes)
        return np.asarray(measure(test.labels, found, test.weights))

    return {
        arm: np.stack([np.stack([column(arm, seed, share) for share in plan.shares]) for seed in plan.seeds])
        for arm in plan.arms
    }


def _points(
    measured: Mapping[str, Mapping[str, Array]], plan: EfficiencyPlan, test: Resampled, lesions: Mapping[float, int]
) -> tuple[Point, ...]:
    found = []
    for arm in plan.arms:
        scores = {name: test.intervals(sheet[arm], SHARE) for name, sheet in measured.items()}
        rivals = {name: sheet[arm] - sheet[plan.reference] for name, sheet in measured.items()}
        apart = {name: test.intervals(of, DIFFERENCE) for name, of in rivals.items() if arm != plan.reference}
        for place, share in enumerate(plan.shares):
            own, other = ({name: all_[place] for name, all_ in each.items()} for each in (scores, apart))
            found.append(Point(arm, share, lesions[share], own, other))
    return tuple(found)


@dataclass(frozen=True)
class Luck:
    """What all draws share for the luck of training, so that draws of two curves belong together."""

    steps: Array  # (S, R) standard normal
    scale: Array  # (R,) root of chi-squared over its degrees of freedom; ones for a single seed


def draw_luck(seeds: int, resamples: int, rng: np.random.Generator) -> Luck:
    """Drawn once for all curves of a study."""
    scale = np.sqrt(rng.chisquare(max(1, seeds - 1), resamples) / max(1, seeds - 1))
    return Luck(rng.normal(size=(seeds, resamples)), scale if seeds > 1 else np.ones(resamples))


def draw_curves(by_seed: Array, test: Resampled, luck: Luck) -> tuple[Array, Array]:
    """A curve (S, P, C) as its mean over seeds (P,) and R draws of it (P, R), with both kinds of luck.

    Lesions: the bootstrap, stretched as in `statistics.Estimate`. Seeds: three drawn again never leave their range,
    so the seeds' deviations are added up with normal steps over a common chi instead, which gives a multivariate t
    with the seeds' own covariance over shares, and Student's t at each of them.
    """
    seeds, shares, _ = by_seed.shape
    mean = by_seed[:, :, 0].mean(0)  # (P,)
    resampled = by_seed[:, :, 1 : 1 + test.design.resamples].mean(0)  # (P, R)
    stretch = [test.estimate(by_seed[:, place], intervals.UNBOUNDED).widening for place in range(shares)]
    draws = mean[:, None] + np.array(stretch)[:, None] * (resampled - mean[:, None])
    if seeds > 1:
        deviations = by_seed[:, :, 0] - mean  # (S, P)
        draws = draws + (deviations.T @ luck.steps) / np.sqrt(seeds * (seeds - 1)) / luck.scale
    return mean, draws


def answer(
    arm: str,
    metric: str,
    own: Array,
    reference: Array,
    shares: Array,
    plan: EfficiencyPlan,
    test: Resampled,
    luck: Luck,
) -> Answer:
    """Crossing and label saving from the metric of both in every column, (S, P, C), over `shares` (P,)."""
    sure = len(plan.seeds) >= plan.min_seeds
    mean, draws = draw_curves(own - reference, test, luck)
    side = 1.0 if mean[-1] >= 0 else -1.0  # the arm's with all lesions
    lag, lags = draw_curves(own - reference[:, -1:], test, luck)
    return Answer(
        arm,
        metric,
        ahead=side > 0,
        crossing=locate(shares, side * mean, side * draws, plan.confidence, sure, strict=True),
        turns=_turns(mean),
        enough=locate(shares, lag, lags, plan.confidence, sure, strict=False),
    )


def _turns(differences: Array) -> int:
    signs = np.sign(differences[differences != 0])
    return int((signs[1:] != signs[:-1]).sum())


def locate(shares: Array, mean: Array, draws: Array, confidence: float, sure: bool, *, strict: bool) -> Place:
    """Where a curve over `shares` (P,) comes above zero, of its mean (P,) and of draws (P, R), with the interval.

    Each is made to rise first: luck at one point would else count as a crossing of its own, and the last of several
    lies too far to the right.
    """
    share = float(_places(shares, mean[:, None], strict)[0])
    found = np.sort(_places(shares, draws[:, np.isfinite(draws).all(0)], strict))
    tail = (1 - confidence) / 2 * (len(found) - 1)
    low, high = float(found[int(np.floor(tail))]), float(found[int(np.ceil(len(found) - 1 - tail))])
    below, beyond = float(np.isneginf(found).mean()), float(np.isposinf(found).mean())
    outcome = _outcome(share, low, high, strict) if sure else Outcome.TOO_FEW_SEEDS
    return Place(share, low, high, below, beyond, outcome)


def _places(shares: Array, values: Array, strict: bool) -> Array:
    """`root` of rising `values` (P, R), (R,); inf also for those that are pooled above zero and end below it."""
    found = root(shares, rising(values), strict=strict)
    return np.where(strict & np.isneginf(found) & (values[-1] <= 0), np.inf, found)


def _outcome(share: float, low: float, high: float, strict: bool) -> Outcome:
    """`strict`: a crossing, which curves that are equal with all lesions leave open."""
    if np.isfinite([share, low, high]).all():
        return Outcome.WITHIN
    if share == high == -np.inf:
        return Outcome.BELOW
    return Outcome.BEYOND if share == low == np.inf and not strict else Outcome.OPEN


def root(shares: Array, values: Array, *, strict: bool) -> Array:
    """The last place at which each of `values` (P, R) comes above zero and stays there, (R,), straight in log2(share).

    -inf where it is above from the first share on, inf where it is not at the last. Zero counts as above unless
    `strict`.
    """
    above = values > 0 if strict else values >= 0  # (P, R)
    last = len(shares) - 1 - np.argmin(above[::-1], axis=0)  # (R,) the last share at which it is not
    before = np.minimum(last, len(shares) - 2)
    columns = np.arange(values.shape[1])
    low, high = values[before, columns], values[before + 1, columns]
    steps = np.log2(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        way = np.nan_to_num(low / (low - high)).clip(0, 1)  # only where it crosses does this count
    place = 2 ** (steps[before] + way * (steps[before + 1] - steps[before]))
    found = np.where(above.all(0), -np.inf, place)
    return np.asarray(np.where(above[-1], found, np.inf))


def rising(values: Array) -> Array:
    """Each column of (P, R) as the nearest curve that never falls: isotonic regression, min-max formula.

    So it is where more labels do no harm, and where an arm's advantage moves one way with their number (formula:
    Barlow et al. 1972, theorem 1.9).
    """
    count = len(values)
    sums = np.vstack([np.zeros(values.shape[1]), values.cumsum(0)])
    means = {
        (start, end): (sums[end + 1] - sums[start]) / (end + 1 - start)
        for start in range(count)
        for end in range(start, count)
    }
    least = [
        [np.min([means[start, end] for end in range(at, count)], 0) for start in range(at + 1)] for at in range(count)
    ]
    return np.stack([np.max(each, 0) for each in least])


def as_record(found: Efficiency) -> dict[str, Any]:
    """JSON-able data: six decimals, null for what is not known; places outside the range are `below` or `beyond`."""
    record = {str(key): plain(value) for key, value in asdict(found).items()}
    for answers, own in zip(record["answers"], found.answers, strict=True):
        for name, place in (("crossing", own.crossing), ("enough", own.enough)):
            ends = {key: OUTSIDE.get(getattr(place, key)) for key in ("share", "low", "high")}
            answers[name] |= {key: word for key, word in ends.items() if word}
    return record


def as_metrics(found: Efficiency) -> dict[str, float]:
    """The few numbers to follow from run to run; what is not known is left out."""
    values: dict[str, float] = {"train_lesions": found.lesions[-1]}
    for point in found.points:
        values |= {f"{point.arm}/{point.share:g}/{name}": each.mean for name, each in point.scores.items()}
    for each in found.answers:
        if each.metric == LEADING:
            values |= {
                f"{each.arm}/crossing": each.crossing.share,
                f"{each.arm}/crossing_outside": each.crossing.outside,
            }
            values |= {f"{each.arm}/enough": each.enough.share}
    return {name: round(value, 6) + 0.0 for name, value in values.items() if np.isfinite(value)}
