"""What damaged pictures cost each arm, and what it still knows when the lesion is hidden.

Damage: balanced accuracy on each kind and strength, the drop from the clean pictures of the same lesions and seeds,
and whether an arm loses more or less than the reference. Shortcuts: above guessing without the lesion is knowledge
from elsewhere, a ruler, a clinic's light, or honest context such as the skin; this test cannot tell which.
Letters: N images, K classes, S seeds, M pictures of an image, C columns of `resampling`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.base.errors import DataError, SettingsError
from components.base.json_data import plain
from components.statistics.intervals import Estimate, Interval
from components.statistics.resampled import DIFFERENCE, SHARE, Resampled, resample
from components.statistics.significance import holm_of
from components.statistics.weighted_metrics import macro_auroc

Array = npt.NDArray[Any]

BOUNDS = (-2.0, 2.0)
"""Of a drop minus another."""

PER_CLASS = 5
"""Lesions that a class must have to be counted where the lesion is hidden."""

TESTED = ("without_lesion", "border")
"""Pictures on which a model should know nothing; `lesion_alone` is their control."""


class Damage(NamedTuple):
    """A kind of damage at a strength."""

    kind: str
    strength: int


@dataclass(frozen=True)
class RobustnessPlan:
    """What is compared, and how sure it must be."""

    study: str
    arms: tuple[str, ...]
    protocols: tuple[str, ...]
    reference: str
    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    strengths: tuple[int, ...]
    size: int  # of the packed pictures, pixels
    border: float  # width, a share of the side
    min_seeds: int  # fewer claim nothing
    confidence: float
    resamples: int
    seed: int
    synthetic: bool

    @property
    def damages(self) -> tuple[Damage, ...]:
        """Every kind at every strength."""
        return tuple(Damage(kind, strength) for kind in self.kinds for strength in self.strengths)


@dataclass(frozen=True)
class Measured:
    """The images that were damaged, those of one test split or a part of them."""

    labels: Array  # (N,) index of the class
    groups: Array  # (N,) lesion or patient
    found: Array  # (N,) bool, whether the lesion was
    reaching: Array  # (N,) bool, whether it reaches into the border


@dataclass(frozen=True)
class Answers:
    """One run's probabilities (N, K) of each picture."""

    arm: str
    protocol: str
    seed: int
    clean: Array
    damaged: Mapping[Damage, Array]
    hidden: Mapping[str, Array]  # without_lesion, border, lesion_alone


@dataclass(frozen=True)
class Point:
    """One strength of one kind."""

    strength: int
    accuracy: Interval  # balanced
    drop: Interval  # clean minus damaged, paired


@dataclass(frozen=True)
class Versus:
    """A drop minus the reference's, on the same lesions and with the same seeds."""

    interval: Interval
    p: float
    holm: float
    sure: bool  # more than luck, after Holm, with seeds enough


@dataclass(frozen=True)
class Kind:
    """One kind of damage."""

    name: str
    points: tuple[Point, ...]
    drop: Interval  # mean over strengths
    versus: Versus | None  # None: the reference itself


@dataclass(frozen=True)
class Against:
    """A number and whether it is surely above what guessing gives."""

    interval: Interval
    guessing: float
    p: float | None  # None: a control is not tested
    holm: float | None
    sure: bool


@dataclass(frozen=True)
class Shortcut:
    """What an arm knows from one of the pictures in which something is hidden."""

    picture: str
    images: int
    groups: int
    classes: tuple[str, ...]  # with lesions enough; the numbers are over these alone
    accuracy: Against | None  # balanced; None: fewer than two classes have lesions enough
    auroc: Against | None  # macro

    @property
    def sure(self) -> bool:
        """Whether either number is surely above guessing."""
        return any(each is not None and each.sure for each in (self.accuracy, self.auroc))


@dataclass(frozen=True)
class Sheet:
    """One arm under one protocol."""

    arm: str
    protocol: str
    clean: Interval
    kinds: tuple[Kind, ...]
    drop: Interval  # mean over kinds and strengths
    versus: Versus | None
    shortcuts: tuple[Shortcut, ...]

    @property
    def name(self) -> str:
        """`<arm>-<protocol>`."""
        return f"{self.arm}-{self.protocol}"

    @property
    def worst(self) -> Kind:
        """The kind with the largest mean drop."""
        return max(self.kinds, key=lambda kind: kind.drop.mean)


@dataclass(frozen=True)
class Robustness:
    """The whole answer, as plain data."""

    plan: RobustnessPlan
    images: int
    groups: int
    of_images: int  # test images there are
    seeds: int
    found: int  # images whose lesion was
    reaching: int  # images whose lesion reaches into the border
    sheets: tuple[Sheet, ...]


def choose(labels: Array, groups: Array, most: int | None, seed: int) -> Array:
    """Row numbers of at most `most` images, whole lesions, in order; all where it is None.

    Lesions are drawn from the classes in turn, so that rare classes are kept whole: the error of balanced accuracy is
    that of its rarest class. A lesion that no longer fits is passed over; SettingsError where none ever did.
    """
    if most is None or len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 0x0B])
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    sizes, of_group = np.bincount(member), labels[first]
    if most < sizes.min():
        raise SettingsError(
            f"robustness.images (params.yaml) is {most}, but every lesion of the {len(labels)} test images has "
            f"{sizes.min()} images or more, and lesions stay whole: expected at least {sizes.min()}, or null for all"
        )
    turns = np.empty(len(names))
    for k in np.unique(of_group):
        rows = np.flatnonzero(of_group == k)
        turns[rows] = rng.permutation(len(rows)) + rng.random()  # a class's place in each turn
    kept, left = np.zeros(len(names), bool), most
    for group in np.argsort(turns, kind="stable"):
        if sizes[group] <= left:
            kept[group], left = True, left - sizes[group]
    return np.flatnonzero(kept[member])


def assemble(measured: Measured, answers: Sequence[Answers], plan: RobustnessPlan, of_images: int) -> Robustness:
    """Everything from the answers of all runs; DataError where runs lack a picture or a partner."""
    rng = np.random.default_rng(plan.seed)
    sample = resample(measured.labels, measured.groups, plan.resamples, plan.confidence, rng)
    cells = _cells(answers, plan)
    seeds = len(next(iter(cells.values())))
    values = {cell: np.stack([_accuracies(run, sample, plan) for run in runs]) for cell, runs in cells.items()}
    drops = {cell: each[:, :1] - each[:, 1:] for cell, each in values.items()}  # (S, M, C)
    shortcuts = _shortcuts(cells, measured, plan, seeds)
    versus = _versus(drops, sample, plan, seeds)
    sheets = [_sheet(cell, values[cell], drops[cell], sample, plan, versus, shortcuts[cell]) for cell in cells]
    return Robustness(
        plan,
        len(measured.labels),
        len(np.unique(measured.groups)),
        of_images,
        seeds,
        int(measured.found.sum()),
        int(measured.reaching.sum()),
        tuple(sheets),
    )


Cell = tuple[str, str]  # arm, protocol


def _cells(answers: Sequence[Answers], plan: RobustnessPlan) -> dict[Cell, list[Answers]]:
    """Runs by arm and protocol, seeds in order; DataError where one lacks a picture or cells differ in seeds."""
    cells: dict[Cell, list[Answers]] = {}
    for protocol in plan.protocols:
        for arm in plan.arms:
            own = [run for run in answers if (run.arm, run.protocol) == (arm, protocol)]
            cells[arm, protocol] = sorted(own, key=lambda run: run.seed)
    seeds = {cell: [run.seed for run in runs] for cell, runs in cells.items()}
    first = next(iter(seeds.values()))
    for cell, numbers in seeds.items():
        if not numbers or numbers != first:
            raise DataError(
                f"robustness: {'-'.join(cell)} has seeds {numbers}, expected {first} as the others: pairs need both; "
                "repeat: dvc repro -f robustness"
            )
    for run in answers:
        missing = [damage for damage in plan.damages if damage not in run.damaged]
        if missing:
            raise DataError(f"robustness: {run.arm}-{run.protocol}-{run.seed} lacks answers to {missing[0]}")
    return cells


# --- damage


def _accuracies(run: Answers, sample: Resampled, plan: RobustnessPlan) -> Array:
    """Balanced accuracy on the clean pictures and on each damage, (1 + M, C)."""
    pictures = [run.clean, *(run.damaged[damage] for damage in plan.damages)]
    return recalls(np.stack([p.argmax(1) == sample.labels for p in pictures]), sample.labels, sample.weights)


def recalls(right: Array, labels: Array, weights: Array) -> Array:
    """Balanced accuracy of M pictures in every column, (M, C), from whether answers are right, (M, N).

    Class by class, of which each has its own rows: a K-th of `statistics.balanced_accuracy`'s work, the same value.
    """
    total, known = np.zeros((len(right), weights.shape[1])), np.zeros(weights.shape[1])
    for k in np.unique(labels):
        rows = labels == k
        held = weights[rows].sum(0, dtype=np.float64)  # (C,)
        hit = (right[:, rows].astype(np.float32) @ weights[rows]).astype(np.float64)  # counts are exact in float32
        total += np.divide(hit, held, out=np.zeros_like(hit), where=held > 0)
        known += held > 0
    return np.asarray(np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0))


def _versus(drops: Mapping[Cell, Array], sample: Resampled, plan: RobustnessPlan, seeds: int) -> dict[Any, Versus]:
    """Each arm's drop minus the reference's, as a whole (key: cell) and by kind (key: cell and kind).

    Holm over all arms and protocols for the whole, and over all of them and the kinds for the kinds.
    """
    pairs = [cell for cell in drops if cell[0] != plan.reference]
    own: dict[Any, Array] = {}
    for cell in pairs:
        own[cell] = drops[cell] - drops[plan.reference, cell[1]]
    wholes = {cell: sample.estimate(own[cell].mean(1), BOUNDS) for cell in pairs}
    kinds = {
        (cell, kind): sample.estimate(own[cell][:, _of_kind(kind, plan)].mean(1), BOUNDS)
        for cell in pairs
        for kind in plan.kinds
    }
    return {**_judged(wholes, plan, seeds), **_judged(kinds, plan, seeds)}


def _judged(estimates: Mapping[Any, Estimate], plan: RobustnessPlan, seeds: int) -> dict[Any, Versus]:
    """One family of differences after Holm."""
    tested = holm_of({key: each.p_value() for key, each in estimates.items()})
    found = {}
    for key, each in estimates.items():
        interval, test = each.interval(plan.confidence), tested[key]
        out = interval.low > 0 or interval.high < 0
        sure = seeds >= plan.min_seeds and out and test.holm <= _alpha(plan)
        found[key] = Versus(interval, test.p, test.holm, bool(sure))
    return found


def _alpha(plan: RobustnessPlan) -> float:
    return round(1 - plan.confidence, 12)


def _of_kind(kind: str, plan: RobustnessPlan) -> list[int]:
    """Places of a kind's strengths among the damages."""
    return [place for place, damage in enumerate(plan.damages) if damage.kind == kind]


def _sheet(
    cell: Cell,
    values: Array,
    drops: Array,
    sample: Resampled,
    plan: RobustnessPlan,
    versus: Mapping[Any, Versus],
    shortcuts: tuple[Shortcut, ...],
) -> Sheet:
    accuracies, lost = sample.intervals(values, SHARE), sample.intervals(drops, DIFFERENCE)
    kinds = []
    for kind in plan.kinds:
        places = _of_kind(kind, plan)
        points = [Point(plan.damages[at].strength, accuracies[1 + at], lost[at]) for at in places]
        drop = sample.interval(drops[:, places].mean(1), DIFFERENCE)
        kinds.append(Kind(kind, tuple(points), drop, versus.get((cell, kind))))
    mean = sample.interval(drops.mean(1), DIFFERENCE)
    return Sheet(*cell, accuracies[0], tuple(kinds), mean, versus.get(cell), shortcuts)


# --- shortcuts


def _rows(picture: str, measured: Measured) -> Array:
    """Images (N,) on which a picture hides what it says: the lesion was found, and does not reach into the border."""
    return np.asarray(measured.found & ~measured.reaching if picture == "border" else measured.found)


def _shortcuts(
    cells: Mapping[Cell, Sequence[Answers]], measured: Measured, plan: RobustnessPlan, seeds: int
) -> dict[Cell, tuple[Shortcut, ...]]:
    """Each arm on each picture; Holm over arms, protocols, pictures and both numbers, the control left out."""
    found: dict[Cell, list[Shortcut]] = {cell: [] for cell in cells}
    tests: dict[tuple[Cell, str, str], tuple[Estimate, float]] = {}
    counts: dict[str, tuple[Array, tuple[int, ...]]] = {}
    for picture in next(iter(cells.values()))[0].hidden:
        rows, classes = counted(_rows(picture, measured), measured)
        counts[picture] = rows, classes
        if len(classes) < 2:
            continue
        labels = np.searchsorted(classes, measured.labels[rows])  # (n,) place among the classes that count
        rng = np.random.default_rng([plan.seed, 1])
        sample = resample(labels, measured.groups[rows], plan.resamples, plan.confidence, rng)
        for cell, runs in cells.items():
            said = [run.hidden[picture][rows] for run in runs]  # (n, K) a seed
            tests[cell, picture, "accuracy"] = _accuracy(said, classes, sample), 1 / len(classes)
            tests[cell, picture, "auroc"] = _auroc(said, classes, sample), 0.5
    judged = _against(tests, plan, seeds)
    for cell in cells:
        for picture, (rows, classes) in counts.items():
            numbers = [judged.get((cell, picture, name)) for name in ("accuracy", "auroc")]
            names = tuple(plan.classes[k] for k in classes)
            groups = len(np.unique(measured.groups[rows]))
            found[cell].append(Shortcut(picture, int(rows.sum()), groups, names, *numbers))
    return {cell: tuple(each) for cell, each in found.items()}


def counted(rows: Array, measured: Measured) -> tuple[Array, tuple[int, ...]]:
    """Of these images those of classes with PER_CLASS lesions or more, (N,) bool, and the classes' indices."""
    classes = [
        int(k)
        for k in np.unique(measured.labels)
        if len(np.unique(measured.groups[rows & (measured.labels == k)])) >= PER_CLASS
    ]
    return rows & np.isin(measured.labels, classes), tuple(classes)


def _accuracy(said: Sequence[Array], classes: Sequence[int], sample: Resampled) -> Estimate:
    """Balanced accuracy over the classes that count; an answer of another class is wrong, so guessing stays below."""
    right = np.stack([np.asarray(classes)[sample.labels] == p.argmax(1) for p in said])
    return sample.estimate(recalls(right, sample.labels, sample.weights), SHARE)


def _auroc(said: Sequence[Array], classes: Sequence[int], sample: Resampled) -> Estimate:
    values = [macro_auroc(sample.labels, p[:, list(classes)], sample.weights) for p in said]
    return sample.estimate(np.stack(values), SHARE)


def _against(
    tests: Mapping[tuple[Cell, str, str], tuple[Estimate, float]], plan: RobustnessPlan, seeds: int
) -> dict[tuple[Cell, str, str], Against]:
    """Surely above guessing: one family of tests, and the interval agrees."""
    tested = holm_of({key: each.p_value(null) for key, (each, null) in tests.items() if key[1] in TESTED})
    found = {}
    for key, (each, null) in tests.items():
        interval, test = each.interval(plan.confidence), tested.get(key)
        if test is None:
            found[key] = Against(interval, null, None, None, sure=False)
            continue
        sure = seeds >= plan.min_seeds and interval.low > null and test.holm <= _alpha(plan)
        found[key] = Against(interval, null, test.p, test.holm, bool(sure))
    return found


# --- as data


def as_record(robustness: Robustness) -> dict[str, Any]:
    """JSON-able data: six decimals, null for what is not known."""
    found: dict[str, Any] = plain(asdict(robustness))
    return found


def as_metrics(robustness: Robustness) -> dict[str, float]:
    """The numbers to follow from run to run: `ARM-PROTOCOL/NAME`; what is not known is left out."""
    found: dict[str, float] = {}
    for sheet in robustness.sheets:
        own = {"clean": sheet.clean.mean, "mean_drop": sheet.drop.mean}
        own |= {f"drop_{kind.name}": kind.drop.mean for kind in sheet.kinds}
        own |= {each.picture: each.accuracy.interval.mean for each in sheet.shortcuts if each.accuracy}
        own |= {f"{each.picture}_auroc": each.auroc.interval.mean for each in sheet.shortcuts if each.auroc}
        found |= {f"{sheet.name}/{name}": value for name, value in own.items()}
    return {name: round(value, 6) + 0.0 for name, value in found.items() if np.isfinite(value)}


def of_protocol(robustness: Robustness, protocol: str) -> Iterable[Sheet]:
    """The sheets of one protocol, arms in the study's order."""
    return (sheet for sheet in robustness.sheets if sheet.protocol == protocol)
