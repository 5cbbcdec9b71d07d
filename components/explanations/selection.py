"""Which runs and which test images are explained: a fixed rule, the same for all models.

Each arm and protocol is represented by its best run on val. Images are some test lesions of each class, drawn at
random, and the most confident errors of every model. N images, K classes, R runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.runs import Images, Run, by_protocol, probabilities, same_images

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ConfidentError:
    """A test image that a model classifies wrongly with a high probability."""

    image: str
    label: str
    predicted: str
    probability: float  # of the predicted class
    missed: bool  # malignant, and predicted as benign
    seeds_wrong: int  # of `seeds` runs of the same arm and protocol
    seeds: int
    arms_wrong: int  # of the runs that represent the `other_arms`
    other_arms: int


@dataclass(frozen=True)
class Case:
    """One test image on the page, and the rule that selected it."""

    image: str
    label: str
    reason: str
    drawn: bool  # at random, so that it is representative of its class


@dataclass(frozen=True)
class ModelRuns:
    """The runs of one arm under one protocol, and the one that represents them."""

    chosen: Run
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return self.chosen.id.model


def group_runs(runs: Sequence[Run], classes: Sequence[str]) -> tuple[ModelRuns, ...]:
    """Runs by protocol and arm, in the order given."""
    groups = [group for arms in by_protocol(runs).values() for group in arms.values()]
    return tuple(ModelRuns(choose_run(group, classes), tuple(group)) for group in groups)


def choose_run(runs: Sequence[Run], classes: Sequence[str]) -> Run:
    """The run with the highest balanced accuracy on val, the first of equals: the one that would be used."""

    def on_val(run: Run) -> float:
        val = same_images([run], "val", classes)
        return balanced_accuracy(val.labels, probabilities(run, "val", classes))

    return max(runs, key=on_val)


def draw_rows(images: Images, count: int, seed: int) -> list[int]:
    """Rows of one image each of `count` random lesions of every class; all lesions of a class that has fewer."""
    rng = np.random.default_rng([seed, 0xCA5E])  # other random numbers than the resamples
    rows: list[int] = []
    labels, sizes = np.unique(images.labels, return_counts=True)
    for label in labels[np.argsort(sizes, kind="stable")]:  # rarest first: it gets the patients of two classes
        own = np.flatnonzero(images.labels == label)
        lesions = np.setdiff1d(images.groups[own], images.groups[rows])
        drawn = rng.choice(lesions, min(count, len(lesions)), replace=False)
        rows += [int(rng.choice(own[images.groups[own] == lesion])) for lesion in drawn]
    return sorted(rows, key=lambda row: int(images.labels[row]))


def find_errors(
    model: ModelRuns,
    others: Sequence[Run],
    images: Images,
    *,
    classes: Sequence[str],
    malignant: Sequence[str] | None,
    limit: int,
) -> tuple[tuple[ConfidentError, ...], int]:
    """The most confident errors of a model on the test images, one a lesion, missed malignant lesions first.

    Args:
        model: whose chosen run makes the errors.
        others: the chosen runs of the other arms under the same protocol.
        images: the test images.
        classes: in the order of the probabilities.
        malignant: classes; None where not known.
        limit: of the errors that are returned.

    Returns:
        The errors, and how many test images the chosen run classifies wrongly.
    """
    p = probabilities(model.chosen, "test", classes)  # (N, K)
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != images.labels)
    is_malignant = np.isin(classes, malignant or ())
    missed = is_malignant[images.labels] & ~is_malignant[predicted] & (malignant is not None)
    order = wrong[np.lexsort((images.names[wrong], -confidence[wrong], ~missed[wrong]))]
    _, first = np.unique(images.groups[order], return_index=True)
    shown = order[np.sort(first)][:limit]
    by_seed, by_arm = (_wrong(runs, images, classes)[:, shown].sum(0) for runs in (model.runs, others))
    errors = [
        ConfidentError(
            image=str(images.names[row]),
            label=classes[images.labels[row]],
            predicted=classes[predicted[row]],
            probability=float(confidence[row]),
            missed=bool(missed[row]),
            seeds_wrong=int(by_seed[place]),
            seeds=len(model.runs),
            arms_wrong=int(by_arm[place]),
            other_arms=len(others),
        )
        for place, row in enumerate(shown)
    ]
    return tuple(errors), len(wrong)


def _wrong(runs: Sequence[Run], images: Images, classes: Sequence[str]) -> Array:
    """(R, N) bool, True where a run's most probable class is wrong."""
    found = [probabilities(run, "test", classes).argmax(1) != images.labels for run in runs]
    return np.stack(found) if found else np.zeros((0, len(images.labels)), bool)


def choose_cases(
    images: Images, errors: Mapping[str, Sequence[ConfidentError]], *, classes: Sequence[str], count: int, seed: int
) -> tuple[Case, ...]:
    """The images on the page, each once: those drawn at random, then the errors.

    Args:
        images: the test images.
        errors: by model, `ARM-PROTOCOL`.
        classes: in the order of the labels.
        count: lesions drawn from each class.
        seed: of the draw.
    """
    cases = {}
    for row in draw_rows(images, count, seed):
        name, label = str(images.names[row]), classes[images.labels[row]]
        cases[name] = Case(name, label, f"drawn at random from {label}", drawn=True)
    for model, found in errors.items():
        for each in found:
            reason = f"one of the most confident errors of {model}"
            cases.setdefault(each.image, Case(each.image, each.label, reason, drawn=False))
    return tuple(cases.values())
