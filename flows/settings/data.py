"""Settings of the data: synthetic images, privacy, scan, external sets, validation, split, packing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from components.base.config import Frozen, OneOf
from components.base.errors import SettingsError
from components.base.fields import Name, Seed, Share
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.validation.expectations import Limits
from components.validation.quarantine import Admissible


class Synthesize(Frozen):
    """The embedded data set: dermoscopy-like drawings with known confounders."""

    lesions: int = Field(ge=0, description="labelled lesions; 0 draws nothing, for data sets of one's own")
    unlabelled: int = Field(ge=0, description="images without a diagnosis")
    image_size: int = Field(ge=32, le=2048, description="pixels, the shorter side")
    images_per_lesion: Annotated[float, Field(ge=1, le=6)] = Field(description="mean; at most 6")
    confounding: Share = Field(
        description="0: hair, ruler, vignette, gel are equally frequent in all classes; 1: only in some"
    )
    difficulty: Share = Field(description="0: classes are plainly different; 1: indistinguishable")
    seed: Seed


class Privacy(Frozen):
    """Ids of patients and lesions go on as keyed hashes alone."""

    key: Literal["public", "secret"] = Field(
        description="public: the key that everybody has, for published data sets; "
        "secret: of the file named by DERMFLOW_KEY_FILE, and image ids are hashed too"
    )


class Scan(Frozen):
    """Where images are looked at. Not part of a stage's freshness: the table is the same wherever it is made."""

    workers: PositiveInt = Field(description="processes on this host")
    cluster: str | None = Field(
        pattern=r"^[a-z]+://", description="address of a dask scheduler, such as tcp://host:8786; null: this host"
    )


class Cohort(Frozen):
    """An external test set: never learned from, and refused where it overlaps with what is."""

    name: Name
    dataset: Annotated[Adapter, OneOf("data.adapters")]
    diagnoses: Mapping[str, str | None] = Field(
        default={},
        description="its word: the one of labels.schemes that it means, null: such images are left out; "
        "words that labels.schemes has itself need none",
    )

    def mapping(self, labels: Labels) -> dict[str, str]:
        """Its diagnosis -> target class; raises ValueError for a meaning that no class has."""
        known = labels.mapping
        lost = {word: meaning for word, meaning in self.diagnoses.items() if meaning not in (None, *known)}
        if lost:
            raise ValueError(
                f"external {self.name}: diagnoses maps {lost}, expected some of {sorted(known)} "
                f"(labels.schemes.{labels.scheme}), or null for what is left out"
            )
        own = {word: known[meaning] for word, meaning in self.diagnoses.items() if meaning is not None}
        return {word: name for word, name in (known | own).items() if word not in self.left_out}

    @property
    def left_out(self) -> tuple[str, ...]:
        """The diagnoses that are no test of this study, on purpose."""
        return tuple(word for word, meaning in self.diagnoses.items() if meaning is None)


def choose(name: str, external: Sequence[Cohort]) -> Cohort:
    """The cohort of that name; SettingsError where there is none."""
    for cohort in external:
        if cohort.name == name:
            return cohort
    raise SettingsError(f"external (params.yaml) has no cohort {name!r}, only {[cohort.name for cohort in external]}")


class NearDuplicates(Frozen):
    """How near a copy of a picture must come to be proposed; pixels then decide."""

    distance: int = Field(ge=0, le=12, description="bits of 64 between perceptual hashes")
    crops: bool = Field(description="look for copies of a part of a picture, too")


class Validate(Frozen):
    """The acceptance of a data set."""

    max_quarantined_share: Share = Field(description="of all rows; above it the run stops")
    min_side: PositiveInt = Field(description="pixels; a shorter image is quarantined")
    min_groups_per_class: PositiveInt = Field(description="lesions or patients; fewer stop the run")
    max_missing_share: Share | None = Field(
        description="of rows, for age, sex and site each; null: they may be unknown"
    )
    admit: tuple[Admissible, ...] = Field(description="problems that all images may have, such as grey")
    near_duplicates: NearDuplicates
    reference: str | None = Field(
        min_length=1,
        description="the accepted version that this one is compared with: a git revision, or a validation.json's path",
    )
    limits: Limits


class Split(Frozen):
    """Who learns from what: no group crosses."""

    group_by: tuple[Literal["patient_id", "lesion_id"], ...] = Field(
        min_length=1, description="rows that share any of these stay together"
    )
    train: Annotated[float, Field(gt=0, lt=1)]
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    folds: int | None = Field(
        default=None, ge=3, description="each image is tested in one of so many turns; null: by train, val and test"
    )
    fold: int = Field(default=0, ge=0, description="the turn: this fold is tested, the next is val")
    seed: Seed

    @model_validator(mode="after")
    def _is_one_of_the_folds(self) -> Self:
        if self.fold >= (self.folds or 1):
            there = f"split.folds is {self.folds}: 0 to {self.folds - 1}" if self.folds else "split.folds is null: 0"
            raise ValueError(f"split.fold is {self.fold}, expected, since {there}")
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(
                f"split.train + split.val + split.test is {self.train + self.val + self.test:g}, expected 1"
            )
        return self


class Pack(Frozen):
    """Images decoded and resized once."""

    image_size: PositiveInt = Field(ge=16, le=1024, description="pixels, square")
    fit: Literal["crop", "pad"] = Field(description="crop: centre square; pad: whole image on black")
