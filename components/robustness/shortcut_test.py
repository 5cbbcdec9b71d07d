"""Whether a model predicts better than chance when the lesion is masked.

Above chance means that the model uses something else than the lesion: a ruler, the light of one clinic, or legitimate
context such as sun-damaged skin; this test cannot separate them.
Letters: N images, n of them counted, K classes, S seeds, C columns of `statistics.resampled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.robustness.corruption_drop import balanced_accuracies
from components.robustness.kept_accuracy import KeptAccuracy, kept_shares
from components.robustness.measurements import MeasuredImages, ModelKey, RunPredictions
from components.robustness.occlusion import PICTURES
from components.statistics.intervals import Estimate, Interval
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.question import StudyQuestion
from components.statistics.resampled import SHARE, Resampled, resample
from components.statistics.significance import holm_by_key

Array = npt.NDArray[Any]

MIN_LESIONS = 5
"""Lesions that a class must have to be counted."""

TESTED = ("without_lesion", "border")
"""Pictures on which a model that uses only the lesion predicts at chance; `lesion_alone` is their control."""


@dataclass(frozen=True)
class AgainstChance:
    """A metric, and whether it is significantly above chance."""

    interval: Interval
    chance: float
    p: float | None  # None for a control, which is not tested
    p_holm: float | None
    significant: bool  # lower end above chance, p_holm at most alpha, and enough seeds


@dataclass(frozen=True)
class ShortcutResult:
    """What a model predicts from one kind of masked picture."""

    picture: str
    images: int
    groups: int
    classes: tuple[str, ...]  # with enough lesions; the metrics are over these alone
    accuracy: AgainstChance | None  # balanced; None where fewer than two classes have enough lesions
    auroc: AgainstChance | None  # macro
    kept: KeptAccuracy | None  # None where accuracy is

    @property
    def significant(self) -> bool:
        """True where either metric is significantly above chance."""
        return any(each is not None and each.significant for each in (self.accuracy, self.auroc))


class ShortcutTest(NamedTuple):
    """One test of the family."""

    model: ModelKey
    picture: str
    metric: str  # accuracy or auroc


class CountedImages(NamedTuple):
    """The images of one kind of picture that the metrics are over."""

    rows: Array  # (N,) bool
    classes: tuple[int, ...]  # indices of the classes with enough lesions


def find_shortcuts(
    models: Mapping[ModelKey, Sequence[RunPredictions]], measured: MeasuredImages, question: StudyQuestion
) -> dict[ModelKey, tuple[ShortcutResult, ...]]:
    """Each model on each picture; one Holm correction over arms, protocols, TESTED pictures and both metrics."""
    counted = {picture: count_images(picture_rows(picture, measured), measured) for picture in PICTURES}
    tests: dict[ShortcutTest, tuple[Estimate, float]] = {}  # with chance
    kept: dict[str, dict[ModelKey, KeptAccuracy]] = {}
    for picture, (rows, classes) in counted.items():
        if len(classes) < 2:
            continue
        labels = np.searchsorted(classes, measured.labels[rows])  # (n,) position among the counted classes
        rng = np.random.default_rng([question.seed, 1])
        sample = resample(labels, measured.groups[rows], question.resamples, question.rule.confidence, rng)
        kept[picture] = kept_shares(models, picture, rows, classes, sample, question.reference)
        for model, runs in models.items():
            probabilities = [run.masked[picture][rows] for run in runs]  # (n, K) a seed
            tests[ShortcutTest(model, picture, "accuracy")] = (
                _accuracy(probabilities, classes, sample),
                1 / len(classes),
            )
            tests[ShortcutTest(model, picture, "auroc")] = _auroc(probabilities, classes, sample), 0.5
    against = _test_family(tests, question)
    found: dict[ModelKey, list[ShortcutResult]] = {model: [] for model in models}
    for model, results in found.items():
        for picture, (rows, classes) in counted.items():
            result = ShortcutResult(
                picture=picture,
                images=int(rows.sum()),
                groups=len(np.unique(measured.groups[rows])),
                classes=tuple(question.classes[k] for k in classes),
                accuracy=against.get(ShortcutTest(model, picture, "accuracy")),
                auroc=against.get(ShortcutTest(model, picture, "auroc")),
                kept=kept.get(picture, {}).get(model),
            )
            results.append(result)
    return {model: tuple(results) for model, results in found.items()}


def picture_rows(picture: str, measured: MeasuredImages) -> Array:
    """(N,) bool, True where the picture masks what its name says: a lesion was found, and the border has none of it."""
    rows = measured.lesion_found & ~measured.touches_border if picture == "border" else measured.lesion_found
    return np.asarray(rows)


def count_images(rows: Array, measured: MeasuredImages) -> CountedImages:
    """The images `rows` (N,) bool of those classes that have MIN_LESIONS or more lesions among them."""
    classes = [
        int(k)
        for k in np.unique(measured.labels)
        if len(np.unique(measured.groups[rows & (measured.labels == k)])) >= MIN_LESIONS
    ]
    return CountedImages(rows & np.isin(measured.labels, classes), tuple(classes))


def _accuracy(probabilities: Sequence[Array], classes: Sequence[int], sample: Resampled) -> Estimate:
    """Balanced accuracy over the counted classes; a prediction of another class is wrong, so chance is at most 1/K."""
    right = np.stack([np.asarray(classes)[sample.labels] == p.argmax(1) for p in probabilities])
    return sample.estimate(balanced_accuracies(right, sample.labels, sample.weights), SHARE)


def _auroc(probabilities: Sequence[Array], classes: Sequence[int], sample: Resampled) -> Estimate:
    values = [macro_auroc(sample.labels, p[:, list(classes)], sample.weights) for p in probabilities]
    return sample.estimate(np.stack(values), SHARE)


def count_tests(question: StudyQuestion) -> int:
    """Size of the family: every model on each of TESTED, accuracy and AUROC."""
    return len(question.arms) * len(question.protocols) * len(TESTED) * 2


def _test_family(
    tests: Mapping[ShortcutTest, tuple[Estimate, float]], question: StudyQuestion
) -> dict[ShortcutTest, AgainstChance]:
    """All tests as one family; the interval must agree with the corrected p-value."""
    tested = holm_by_key({key: each.p_value(chance) for key, (each, chance) in tests.items() if key.picture in TESTED})
    enough_seeds = len(question.seeds) >= question.rule.min_seeds
    found = {}
    for key, (each, chance) in tests.items():
        interval, test = each.interval(question.rule.confidence), tested.get(key)
        if test is None:
            found[key] = AgainstChance(interval, chance, p=None, p_holm=None, significant=False)
            continue
        significant = enough_seeds and interval.low > chance and test.holm <= question.rule.alpha
        found[key] = AgainstChance(interval, chance, test.p, test.holm, bool(significant))
    return found
