"""How an external set's diagnoses map to classes, which images are left out, and which classes can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from components.base.errors import DataError
from components.external_validation.diagnoses import MIN_LESIONS
from components.statistics.runs import Images


@dataclass(frozen=True)
class MappedDiagnosis:
    """One diagnosis of the external set, and its class."""

    diagnosis: str
    label: str
    images: int
    lesions: int


@dataclass(frozen=True)
class ClassCount:
    """Images and lesions of a class in both test sets; shares are of all labelled images."""

    name: str
    internal_images: int
    internal_lesions: int
    internal_share: float
    external_images: int
    external_lesions: int
    external_share: float

    @property
    def compared(self) -> bool:
        """True if both test sets have enough lesions of it."""
        return min(self.internal_lesions, self.external_lesions) >= MIN_LESIONS


@dataclass(frozen=True)
class LabelMap:
    """How the diagnoses of the external set were read."""

    mapped: tuple[MappedDiagnosis, ...]
    outside: Mapping[str, int]  # diagnosis of no class -> images, which are left out
    unlabelled: int  # images without a diagnosis, left out
    classes: tuple[ClassCount, ...]

    @property
    def compared(self) -> tuple[str, ...]:
        """The classes over which both test sets are measured."""
        return tuple(each.name for each in self.classes if each.compared)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The classes without an image in the external set."""
        return tuple(each.name for each in self.classes if not each.external_images)

    @property
    def few(self) -> tuple[str, ...]:
        """The classes with images in the external set, but too few lesions in one of both sets."""
        return tuple(each.name for each in self.classes if each.external_images and not each.compared)

    def images(self, side: str) -> int:
        """Images of the compared classes; `side` is `internal` or `external`."""
        return sum(int(getattr(each, f"{side}_images")) for each in self.classes if each.compared)


def check_labels(
    cohort: str, table: pd.DataFrame, outside: Mapping[str, int], internal: Images, classes: Sequence[str]
) -> LabelMap:
    """Map the diagnoses of an external set to classes and count both test sets.

    Args:
        cohort: name of the external set.
        table: its accepted rows: diagnosis, label, group.
        outside: diagnosis of no class -> images, which are left out.
        internal: the internal test.
        classes: of the study, in the order of `internal.labels`.

    Raises:
        DataError: where no image has a label, or fewer than two classes have MIN_LESIONS lesions in both sets.
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
        lesions = {each.name: (each.internal_lesions, each.external_lesions) for each in counts}
        raise DataError(
            f"external test set {cohort}: {len(found.compared)} classes have {MIN_LESIONS} lesions in both test sets, "
            f"expected at least 2; lesions (internal test, {cohort}): {lesions}; map more diagnoses under "
            "external.diagnoses (params.yaml), or choose a scheme of fewer classes"
        )
    return found


def _mapped(labelled: pd.DataFrame) -> tuple[MappedDiagnosis, ...]:
    rows = labelled.groupby(["label", "diagnosis"])["group"].agg(["size", "nunique"])
    return tuple(
        MappedDiagnosis(str(word), str(label), int(images), int(lesions))
        for (label, word), images, lesions in zip(rows.index, rows["size"], rows["nunique"], strict=True)
    )


def _count(place: int, name: str, labelled: pd.DataFrame, internal: Images) -> ClassCount:
    outside, inside = (labelled["label"] == name).to_numpy(), internal.labels == place
    groups = labelled["group"].to_numpy(str)
    return ClassCount(
        name=name,
        internal_images=int(inside.sum()),
        internal_lesions=len(set(internal.groups[inside])),
        internal_share=float(inside.mean()),
        external_images=int(outside.sum()),
        external_lesions=len(set(groups[outside])),
        external_share=float(outside.mean()),
    )
