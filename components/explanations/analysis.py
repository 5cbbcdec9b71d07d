"""What lies behind single answers: maps that were checked, the train lesions nearest to an image, and the worst errors.

Plain data and pure functions; `attribution` makes the maps. Which images are looked at is a rule and no choice: of each
class some test lesions at random, and the most confident errors of every model; the same for all models.
N images, M train images, K classes, D features, S seeds, C columns of `resampling`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from components.statistics.intervals import Interval, student_interval
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.resampled import SHARE, resample
from components.statistics.runs import Images, Run, probabilities, same_images
from components.statistics.weighting import ratio

Array = npt.NDArray[Any]

LEAST = 5
"""Lesions; from fewer maps nothing is claimed."""

EVERYTHING = "everything"
"""Of `attribution.DEPTHS` the one that the verdict rests on."""


class Finding(StrEnum):
    """What the check by weights drawn anew can end with."""

    DEPENDS = "depends on the weights"
    SAME = "looks the same without them"
    INCOMPLETE = "does not add up"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    study: str
    arms: tuple[str, ...]
    classes: tuple[str, ...]
    malignant: tuple[str, ...] | None  # classes; None: not known
    images: int  # test lesions a class
    errors: int  # shown of each model
    neighbours: int  # train lesions
    steps: int  # of the integral
    alike: float  # rank correlation from which two maps count as the same
    lost: float  # share of the logits' change that the integral may miss
    confidence: float
    resamples: int
    seed: int
    synthetic: bool


@dataclass(frozen=True)
class Likeness:
    """How alike a model's maps are to those of another, means over lesions with their intervals."""

    other: str  # `another seed`, or what was drawn anew
    lesions: int
    rank: Interval  # Spearman's correlation of the maps as they are, signs and all
    magnitude: Interval  # the same of their magnitudes: where, and not what for
    structure: Interval  # SSIM


@dataclass(frozen=True)
class Error:
    """A test image that a model is sure about and wrong."""

    image: str
    label: str
    answer: str
    probability: float
    missed: bool  # malignant, and called benign
    seeds_wrong: int
    seeds: int
    arms_wrong: int
    other_arms: int


@dataclass(frozen=True)
class Case:
    """One test image that is looked at, and by which rule."""

    image: str
    label: str
    why: str
    drawn: bool  # at random, so that it stands for its class


@dataclass(frozen=True)
class Neighbour:
    """A train image near a test image."""

    image: str
    label: str
    distance: float  # 1 - cosine, in [0, 2]


@dataclass(frozen=True)
class Exhibit:
    """What one model makes of one case."""

    image: str
    answer: str
    probability: float
    map: Array  # (S, S) in [-1, 1], as shown; above zero speaks for the answer
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Sheet:
    """One arm under one protocol, by the run that stands for it."""

    arm: str
    protocol: str
    run: str
    likeness: tuple[Likeness, ...]
    lost: float  # share of the logits' change that the steps of the integral missed, over the drawn images
    agreement: Interval  # share of the nearest train lesions that are of the image's class, mean over classes
    encoders: int  # different ones, over which the interval is
    errors: tuple[Error, ...]
    wrong: int  # test images that the run calls wrongly
    exhibits: tuple[Exhibit, ...]

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"

    def finding(self, plan: Plan) -> Finding:
        """Whether its maps may be read."""
        return judge(self.likeness, self.lost, plan.alike, plan.lost)


@dataclass(frozen=True)
class Explanations:
    """All of it."""

    plan: Plan
    images: int  # of the test split
    groups: int
    cases: tuple[Case, ...]
    sheets: tuple[Sheet, ...]


# --- which images, which runs


def choose_run(runs: Sequence[Run], classes: Sequence[str]) -> Run:
    """The one with the highest balanced accuracy on val, the first of equals: the one that would be deployed."""

    def on_val(run: Run) -> float:
        val = same_images([run], "val", classes)
        p = probabilities(run, "val", classes)
        return balanced_accuracy(val.labels, p)

    return max(runs, key=on_val)


def draw_rows(images: Images, count: int, seed: int) -> list[int]:
    """Rows of one image each of `count` lesions of every class, drawn at random; of rarer classes all."""
    rng = np.random.default_rng([seed, 0xCA5E])  # draws of its own
    rows: list[int] = []
    labels, sizes = np.unique(images.labels, return_counts=True)
    for label in labels[np.argsort(sizes, kind="stable")]:  # rarest first: a patient of two classes stands for it
        own = np.flatnonzero(images.labels == label)
        lesions = np.setdiff1d(images.groups[own], images.groups[rows])
        drawn = rng.choice(lesions, min(count, len(lesions)), replace=False)
        rows += [int(rng.choice(own[images.groups[own] == lesion])) for lesion in drawn]
    return sorted(rows, key=lambda row: int(images.labels[row]))


def find_errors(
    chosen: Run, seeds: Sequence[Run], others: Sequence[Run], images: Images, plan: Plan
) -> tuple[tuple[Error, ...], int]:
    """The most confident errors of `chosen`, one a lesion, malignant called benign first, and how many it makes.

    `seeds` are all runs of its arm and protocol, `others` the runs that stand for the other arms.
    """
    p = probabilities(chosen, "test", plan.classes)  # (N, K)
    answers, sure = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(answers != images.labels)
    grave = np.isin(plan.classes, plan.malignant or ())
    missed = grave[images.labels] & ~grave[answers] & (plan.malignant is not None)
    order = wrong[np.lexsort((images.names[wrong], -sure[wrong], ~missed[wrong]))]
    _, first = np.unique(images.groups[order], return_index=True)
    shown = order[np.sort(first)][: plan.errors]
    by_seed, by_arm = (_wrong(runs, images, plan.classes)[:, shown].sum(0) for runs in (seeds, others))
    found = [
        Error(
            image=str(images.names[row]),
            label=plan.classes[images.labels[row]],
            answer=plan.classes[answers[row]],
            probability=float(sure[row]),
            missed=bool(missed[row]),
            seeds_wrong=int(by_seed[place]),
            seeds=len(seeds),
            arms_wrong=int(by_arm[place]),
            other_arms=len(others),
        )
        for place, row in enumerate(shown)
    ]
    return tuple(found), len(wrong)


def _wrong(runs: Sequence[Run], images: Images, classes: Sequence[str]) -> Array:
    """(R, N) whether each run's likeliest class is not the right one."""
    found = [probabilities(run, "test", classes).argmax(1) != images.labels for run in runs]
    return np.stack(found) if found else np.zeros((0, len(images.labels)), bool)


def choose_cases(images: Images, errors: Mapping[str, Sequence[Error]], plan: Plan) -> tuple[Case, ...]:
    """Test images drawn by class, and then the errors of every model (by its name); each image once."""
    cases = {}
    for row in draw_rows(images, plan.images, plan.seed):
        label = plan.classes[images.labels[row]]
        cases[str(images.names[row])] = Case(str(images.names[row]), label, f"drawn at random from {label}", True)
    for name, found in errors.items():
        for each in found:
            cases.setdefault(each.image, Case(each.image, each.label, f"a most confident error of {name}", False))
    return tuple(cases.values())


# --- the check


def compare_maps(other: str, rank: Array, magnitude: Array, structure: Array, confidence: float) -> Likeness:
    """Likenesses of single lesions, (N,) each in [-1, 1], as means; a map without any contrast is left out."""
    known = np.isfinite(rank) & np.isfinite(magnitude)
    means = [_mean(values[known], confidence) for values in (rank, magnitude, structure)]
    return Likeness(other, int(known.sum()), *means)


def _mean(values: Array, confidence: float) -> Interval:
    """Student's interval over lesions, no further than correlations go."""
    if not len(values):
        return Interval(np.nan, -np.inf, np.inf)
    found = student_interval(values, confidence)
    return Interval(found.mean, max(found.low, -1.0), min(found.high, 1.0)) if found.known else found


def share_lost(missing: Array, change: Array) -> float:
    """Of the logits' change (N,) the share that the integral missed (N,), both summed without their signs."""
    whole = float(np.abs(change).sum())
    return float(np.abs(missing).sum()) / whole if whole > 0 else np.nan


def judge(likeness: Sequence[Likeness], lost: float, alike: float, most_lost: float) -> Finding:
    """Whether maps add up, and stay alike when all weights are drawn anew: by sign, or by place alone."""
    found = next((each for each in likeness if each.other == EVERYTHING), None)
    if found is None or found.lesions < LEAST:
        return Finding.UNDECIDED
    if not lost <= most_lost:
        return Finding.INCOMPLETE
    if max(found.rank.low, found.magnitude.low) >= alike:
        return Finding.SAME
    return Finding.DEPENDS if max(found.rank.high, found.magnitude.high) < alike else Finding.UNDECIDED


# --- what lies near


def standardise(features: Array, train: Array) -> Array:
    """(N, D) by mean and deviation of the train features (M, D), as the classifier's head reads them."""
    spread = train.std(axis=0)
    return np.asarray((features - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def nearest_lesions(train: Array, groups: Array, test: Array, count: int) -> tuple[Array, Array]:
    """Of each test row the nearest image of each of the `count` nearest train lesions, and 1 - cosine: (N, count).

    `train` (M, D) and `test` (N, D) are standardised, `groups` (M,) the train images' lesions.
    """
    count = min(count, len(np.unique(groups)))
    space = NearestNeighbors(metric="cosine", algorithm="brute").fit(train)
    rows, distances = np.zeros((len(test), count), int), np.zeros((len(test), count))
    waiting, many = np.arange(len(test)), 2 * count
    while len(waiting):  # lesions with many images fill the list: ask for more
        many = min(many, len(train))
        near_distances, near = space.kneighbors(test[waiting], n_neighbors=many)
        done = np.zeros(len(waiting), bool)
        for place, row in enumerate(waiting):
            first = np.sort(np.unique(groups[near[place]], return_index=True)[1])[:count]
            done[place] = len(first) == count
            if done[place]:
                rows[row], distances[row] = near[place][first], near_distances[place][first]
        waiting, many = waiting[~done], 2 * many
    return rows, distances


def agree(images: Images, shares: Sequence[Array], plan: Plan) -> Interval:
    """Mean over classes of the share of neighbours of an image's own class, from one (N,) a different encoder.

    With neighbours at random it is one divided by the number of classes, however frequent they are.
    """
    rng = np.random.default_rng([plan.seed, 0xA6E])
    sample = resample(images.labels, images.groups, plan.resamples, plan.confidence, rng)
    present = np.unique(images.labels)
    of_class = (images.labels == present[:, None]).astype(np.float32)  # (K, N)
    by_seed = [_by_class(of_class, share, sample.weights) for share in shares]
    return sample.interval(np.stack(by_seed), SHARE)


def _by_class(of_class: Array, share: Array, weights: Array) -> Array:
    """(C,) the mean of the classes' means, over the classes that a column holds."""
    means = ratio((of_class * share) @ weights, of_class @ weights)  # (K, C)
    known = np.isfinite(means)
    return ratio(np.where(known, means, 0.0).sum(0), known.sum(0))


# --- as plain data


def as_record(found: Explanations) -> dict[str, Any]:
    """JSON without pixels; what is not known is null."""
    plan = found.plan
    return {
        "study": plan.study,
        "synthetic": plan.synthetic,
        "test_images": found.images,
        "test_lesions": found.groups,
        "confidence": plan.confidence,
        "alike": plan.alike,
        "lost": plan.lost,
        "cases": [{"image_id": each.image, "label": each.label, "why": each.why} for each in found.cases],
        "models": {sheet.name: _sheet_record(sheet, plan) for sheet in found.sheets},
    }


def _sheet_record(sheet: Sheet, plan: Plan) -> dict[str, Any]:
    return {
        "run": sheet.run,
        "maps": str(sheet.finding(plan)),
        "likeness": {each.other: _likeness_record(each) for each in sheet.likeness},
        "integral_missed": _known(sheet.lost),
        "neighbour_agreement": _interval_record(sheet.agreement) | {"encoders": sheet.encoders},
        "test_images_wrong": sheet.wrong,
        "errors": [_error_record(each) for each in sheet.errors],
        "neighbours": {
            each.image: [
                {"image_id": near.image, "label": near.label, "distance": near.distance} for near in each.neighbours
            ]
            for each in sheet.exhibits
        },
    }


def _likeness_record(each: Likeness) -> dict[str, Any]:
    parts = {"rank_correlation": each.rank, "of_magnitudes": each.magnitude, "ssim": each.structure}
    return {"lesions": each.lesions} | {name: _interval_record(value) for name, value in parts.items()}


def _interval_record(interval: Interval) -> dict[str, Any]:
    return {"mean": _known(interval.mean), "low": _known(interval.low), "high": _known(interval.high)}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _error_record(each: Error) -> dict[str, Any]:
    names = ("label", "answer", "probability", "missed", "seeds_wrong", "seeds", "arms_wrong", "other_arms")
    return {"image_id": each.image, **{name: getattr(each, name) for name in names}}


def as_metrics(found: Explanations) -> dict[str, dict[str, float]]:
    """What to follow from run to run, those numbers that are known."""
    return {sheet.name: dict(_numbers(sheet)) for sheet in found.sheets}


def _numbers(sheet: Sheet) -> Iterable[tuple[str, float]]:
    """Names and values of one sheet."""
    pairs = [("neighbour_agreement", sheet.agreement.mean), ("integral_missed", sheet.lost)]
    pairs += [(f"likeness.{each.other.replace(' ', '_')}", each.rank.mean) for each in sheet.likeness]
    return ((name, float(value)) for name, value in pairs if np.isfinite(value))
