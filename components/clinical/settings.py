"""The settings of the clinical assessment: malignant diagnoses, triage, thresholds, abstention, subgroups."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from components.base.config import Frozen
from components.base.fields import DistinctWords, OpenShare, Word
from components.clinical.accept import Accept
from components.data.labels import Labels

SUM_ROUNDING = 1e-6
"""By which shares may miss the sum of 1."""


class Clinical(Frozen):
    """What is reported of each model for clinical use."""

    malignant: tuple[Word, ...] | None = Field(description="diagnoses; null: not known")
    severity: dict[str, tuple[Word, ...]] | None = Field(
        description="level -> diagnoses, from least to most severe; null: no triage"
    )
    costs: tuple[tuple[NonNegativeFloat, ...], ...] | None = Field(
        description="of one image: rows the true level, columns the decided level; null: no triage"
    )
    levels: tuple[OpenShare, ...] = Field(
        min_length=1, description="of specificity, and of sensitivity, for which thresholds are chosen on val"
    )
    thresholds: tuple[OpenShare, ...] = Field(
        min_length=1, description="probabilities of malignancy at which net benefit is computed"
    )
    answered: OpenShare = Field(description="share of images that a model which may abstain answers")
    miss: OpenShare = Field(description="share of lesions whose conformal set may lack the true class")
    ages: tuple[PositiveInt, ...] = Field(min_length=1, description="edges of the age bands, years")
    least_groups: PositiveInt = Field(description="lesions below which no number of a subgroup is reported")
    accept: Accept | None = Field(
        default=None, description="criteria of fitness for use; null: fitness for use is not judged"
    )
    deployment: OpenShare | Annotated[dict[Word, OpenShare], DistinctWords] | None = Field(
        description="where a model would be used: share of malignant images, or share of each class; null: not known"
    )

    @model_validator(mode="after")
    def _there_are_levels(self) -> Self:
        if self.severity is not None and len(self.severity) < 2:
            raise ValueError(
                f"clinical.severity has the levels {list(self.severity)}, expected at least two, from least to most "
                "severe, or null for no triage"
            )
        return self

    @model_validator(mode="after")
    def _costs_fit_levels(self) -> Self:
        count = len(self.severity or ())
        if self.costs is None:
            return self
        if [len(row) for row in self.costs] != [count] * count:
            raise ValueError(f"clinical.costs is no table of {count} x {count}, one row and column a level of severity")
        if any(row[level] for level, row in enumerate(self.costs)):
            raise ValueError(
                f"clinical.costs {[list(row) for row in self.costs]} has a cost where the decided level is the true "
                "one, expected 0 on the diagonal"
            )
        return self

    @model_validator(mode="after")
    def _deployment_is_whole(self) -> Self:
        if isinstance(self.deployment, dict) and abs(sum(self.deployment.values()) - 1) > SUM_ROUNDING:
            raise ValueError(
                f"clinical.deployment {self.deployment} sums to {sum(self.deployment.values()):g}, expected 1: the "
                "share of every class among the images of the clinic; or one number, the share of malignant images"
            )
        return self

    def deployment_of_classes(self, labels: Labels) -> float | dict[str, float] | None:
        """`deployment` with its words as classes: the share of malignant images, or that of each class.

        Raises:
            ValueError: where a word is neither class nor diagnosis, a class has no share, or a share of malignant
                images is given and `malignant` divides no classes.
        """
        if isinstance(self.deployment, float) and self.malignant_classes(labels) is None:
            raise ValueError(
                f"clinical.deployment is {self.deployment:g}, a share of malignant images, but clinical.malignant "
                "names none or all of the classes: set clinical.malignant, or give the share of each class"
            )
        if not isinstance(self.deployment, dict):
            return self.deployment
        found = dict.fromkeys(labels.classes, 0.0)
        for word, share in self.deployment.items():
            name = word if word in found else labels.mapping.get(word)
            if name is None:
                raise ValueError(
                    f"clinical.deployment names {word!r}, expected classes of labels.scheme {labels.scheme} "
                    f"{list(labels.classes)}, or their diagnoses"
                )
            found[name] += share
        lacking = [name for name, share in found.items() if not share]
        if lacking:
            raise ValueError(
                f"clinical.deployment gives no share to {', '.join(lacking)}, expected a share above zero for every "
                f"class of labels.scheme {labels.scheme}"
            )
        return found

    def malignant_classes(self, labels: Labels) -> tuple[str, ...] | None:
        """The classes whose diagnoses are malignant; None where that is true of no class or of all.

        Raises:
            ValueError: where a class has malignant and other diagnoses.
        """
        found = labels.group_classes({"malignant": self.malignant or ()}, "clinical.malignant")["malignant"]
        return found if 0 < len(found) < len(labels.classes) else None

    def severity_of_classes(self, labels: Labels) -> dict[str, tuple[str, ...]] | None:
        """Level -> classes, from least to most severe; None where a class has no level or a level no class.

        Raises:
            ValueError: where the diagnoses of a class have several levels.
        """
        found = labels.group_classes(self.severity or {}, "clinical.severity")
        whole = sum(map(len, found.values())) == len(labels.classes) and all(found.values())
        return found if whole else None
