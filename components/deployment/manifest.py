"""What a bundle states of its model: `bundle.json`.

All numbers that an answer needs besides the tensors stand here in full precision, with where they are from. There is
no date and no name of a machine, so the same study gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from components.base.config import Frozen

VERSION = 1
"""Of the manifest; raised when an older one can no longer be read."""


class Rate(Frozen):
    """A rate on test images with its interval over lesions; null where it is not known."""

    mean: float | None
    low: float | None
    high: float | None


class OperatingPoint(Frozen):
    """A threshold of the score of malignancy, which val chose."""

    fixed: Literal["sensitivity", "specificity"]
    level: float
    """Of `fixed` on val, which the threshold reaches."""
    threshold: float
    """An image with this score or a higher one is called malignant. The score is the probability of the malignant
    classes with the class frequencies of the train images, before the temperature."""
    val: Mapping[str, float | None]
    """Sensitivity and specificity that the threshold has on the val images."""
    test: Mapping[str, Rate]
    """Sensitivity, specificity, ppv and npv on the test images."""


class Frequencies(Frozen):
    """Class frequencies, class -> share."""

    learned: Mapping[str, NonNegativeFloat]
    """Those that the model was trained for: uniform where training balanced the classes."""
    train: Mapping[str, NonNegativeFloat]
    clinic: Mapping[str, NonNegativeFloat] | None
    """clinical.deployment; null: not stated, and probabilities are for the frequencies of the train images."""


class Conformal(Frozen):
    """Limits of the set of classes that cannot be excluded."""

    promised: float
    """Share of lesions whose set has the true class."""
    lesions: int
    """Of val, which set the limits."""
    limits: Mapping[str, float | None]
    """Class -> the highest 1 - p with which it stays in the set; null: it always stays."""


class Abstention(Frozen):
    """Below which confidence the model gives no answer."""

    answered: float
    """Share of the val images that are answered."""
    threshold: float
    """Of the highest probability, as trained."""


class Provenance(Frozen):
    """What the model was made from."""

    dermflow: str
    """Version."""
    study: str
    dataset: str
    """The adapter's kind."""
    images: Mapping[str, int]
    """Split -> number of images."""
    split_sha256: str
    """Of the table of `split`."""
    test_sha256: str
    """Of the test images, see `components.comparison.protocol.images_sha256`."""
    fingerprints: Mapping[str, str]
    """Of the fine-tuning run: encoder, images, settings, code."""
    data_licence: Mapping[str, Any]
    weights_licence: Mapping[str, Any] | None
    """Of published weights that the encoder started from; null: there are none."""


class Manifest(Frozen):
    """The content of `bundle.json`."""

    version: Literal[1]
    run: str
    arm: str
    protocol: str
    seed: int
    recommended: bool
    """Whether `compare` recommends this run as a candidate for external testing."""
    recommendation: str
    """Its sentence."""
    protocol_followed: str
    """Whether the study was confirmatory or exploratory."""
    synthetic: bool
    """Made from drawings: no evidence about patients."""
    classes: tuple[str, ...]
    """In the order of the probabilities."""
    malignant: tuple[str, ...]
    """Of the classes; empty where it is not known which are malignant."""
    image_size: PositiveInt
    """Side of the square, pixels."""
    fit: Literal["crop", "pad"]
    backbone: Mapping[str, Any]
    frequencies: Frequencies
    temperature: PositiveFloat
    """By which the logarithms of the restored probabilities are divided."""
    points: tuple[OperatingPoint, ...]
    """Empty where it is not known which classes are malignant."""
    point: int | None
    """Place in `points` of the one that decides; null where there is none."""
    conformal: Conformal
    abstention: Abstention
    unlike: float
    """Share of val images below which an image counts as unlike the train images."""
    test: Mapping[str, Any]
    """The run's metrics on test images, as in metrics/evaluate.json."""
    gap: float | None = None
    """Overfitting gap in loss at the epoch whose weights these are, val minus train, nats; null: not recorded."""
    provenance: Provenance
    files: Mapping[str, str] = Field(description="every other file of the bundle but SHA256SUMS -> its sha256")

    @model_validator(mode="after")
    def _every_class_has_its_numbers(self) -> Self:
        known = self.frequencies
        tables = {
            "frequencies.learned": known.learned,
            "frequencies.train": known.train,
            "frequencies.clinic": known.clinic,
            "conformal.limits": self.conformal.limits,
        }
        for name, table in tables.items():
            if table is not None and sorted(table) != sorted(self.classes):
                raise ValueError(f"{name} has {sorted(table)}, expected the classes {sorted(self.classes)}")
        if not set(self.malignant) <= set(self.classes):
            raise ValueError(f"malignant is {list(self.malignant)}, expected some of the classes {list(self.classes)}")
        if self.point is not None and not 0 <= self.point < len(self.points):
            raise ValueError(f"point is {self.point}, but there are {len(self.points)} points")
        return self
