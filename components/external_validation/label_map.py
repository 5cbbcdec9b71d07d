"""How an external set's diagnoses are read: which counts as which class, what is left out, and what can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from components.base.errors import DataError
from components.statistics.runs import Images

LEAST = 5
"""Lesions that a class must have on either side: with fewer there is no number, and the class is left out on both."""


@dataclass(frozen=True)
class Mapped:
    """One diagnosis of the external set, and the class that it counts as."""

    diagnosis: str
    label: str
    images: int
    lesions: int


@dataclass(frozen=True)
class ClassCount:
    """How much there is of a class on both sides; shares are of all labelled images."""

    name: str
    internal_images: int
    internal_lesions: int
    internal_share: float
    external_images: int
    external_lesions: int
    external_share: float

    @property
    def compared(self) -> bool:
        """Whether both sides hold enough lesions of it."""
        return min(self.internal_lesions, self.external_lesions) >= LEAST


@dataclass(frozen=True)
class LabelMap:
    """What became of the external set's diagnoses."""

    mapped: tuple[Mapped, ...]
    outside: Mapping[str, int]  # diagnosis of no class -> images, which are left out
    unlabelled: int  # images without a diagnosis, left out
    classes: tuple[ClassCount, ...]

    @property
    def compared(self) -> tuple[str, ...]:
        """The classes over which both sides are measured."""
        return tuple(each.name for each in self.classes if each.compared)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The classes of which the external set has no image."""
        return tuple(each.name for each in self.classes if not each.external_images)

    @property
    def few(self) -> tuple[str, ...]:
        """The classes that it has, but of which one of both sides has too few lesions."""
        return tuple(each.name for each in self.classes if each.external_images and not each.compared)

    def images(self, side: str) -> int:
        """How many images of the compared classes `internal` or `external` has."""
        return sum(int(getattr(each, f"{side}_images")) for each in self.classes if each.compared)


def check_labels(
    cohort: str, table: pd.DataFrame, outside: Mapping[str, int], internal: Images, classes: Sequence[str]
) -> LabelMap:
    """Which diagnoses count as what; `table` are the accepted rows: diagnosis, label, group.

    Raises DataError where no image has a label, or fewer than two classes have LEAST lesions on both sides.
    """
    labelled = table[table["label"].notna()]
    if labelled.empty:
        raise DataError(
            f"external test set {cohort}: none of {len(table)} accepted images has a label, diagnoses in no class are "
            f"{dict(outside)}; map them to words of labels.schemes under external.diagnoses (params.yaml)"
        )
    counts = tuple(_count(place, name, labelled, internal) for place, name in enumerate(classes))
    found = LabelMap(_mapped(labelled), dict(outside), int(table["diagnosis"].isna().sum()), counts)
    if len(found.compared) < 2:
        told = {each.name: (each.internal_lesions, each.external_lesions) for each in counts}
        raise DataError(
            f"external test set {cohort}: {len(found.compared)} classes have {LEAST} lesions on both sides, expected "
            f"at least 2; lesions (internal test, {cohort}): {told}; map more diagnoses under external.diagnoses "
            "(params.yaml), or choose a scheme of fewer classes"
        )
    return found


def _mapped(labelled: pd.DataFrame) -> tuple[Mapped, ...]:
    rows = labelled.groupby(["label", "diagnosis"])["group"].agg(["size", "nunique"])
    return tuple(
        Mapped(str(word), str(label), int(images), int(lesions))
        for (label, word), images, lesions in zip(rows.index, rows["size"], rows["nunique"], strict=True)
    )


def _count(place: int, name: str, labelled: pd.DataFrame, internal: Images) -> ClassCount:
    theirs, ours = (labelled["label"] == name).to_numpy(), internal.labels == place
    groups = labelled["group"].to_numpy(str)
    return ClassCount(
        name,
        int(ours.sum()),
        len(set(internal.groups[ours])),
        float(ours.mean()),
        int(theirs.sum()),
        len(set(groups[theirs])),
        float(theirs.mean()),
    )
