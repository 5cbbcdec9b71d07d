"""Settings of the data: synthetic images, privacy, external test sets, split, packing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from components.base.config import Frozen, OneOf
from components.base.errors import SettingsError
from components.base.fields import DistinctWords, Name, OpenShare, RelativePath, Seed, Share, Word
from components.data.adapters import Adapter
from components.data.labels import Labels


class Synthesize(Frozen):
    """The SYNTHETIC data set: images like dermoscopy, drawn with known confounders."""

    lesions: int = Field(ge=0, description="labelled lesions; 0: nothing is drawn, for other data sets")
    unlabelled: int = Field(ge=0, description="images without a diagnosis")
    image_size: int = Field(ge=32, le=2048, description="pixels, the shorter side")
    images_per_lesion: Annotated[float, Field(ge=1, le=6)] = Field(description="mean")
    confounding: Share = Field(
        description="0: hair, ruler, vignette, gel are equally frequent in all classes; 1: only in some"
    )
    difficulty: Share = Field(description="0: classes are plainly different; 1: indistinguishable")
    seed: Seed


class Privacy(Frozen):
    """Ids of patients and lesions are replaced by keyed hashes."""

    key: Literal["public", "secret"] = Field(
        description="public: the key in the source code, for published data sets; "
        "secret: the key in the file named by DERMFLOW_KEY_FILE, and image ids are hashed too"
    )


class Cohort(Frozen):
    """An external test set: not used in training, and rejected where it shares images or patients with the study."""

    name: Name
    dataset: Annotated[Adapter, OneOf("data.adapters")]
    diagnoses: Annotated[Mapping[Word, Word | None], DistinctWords] = Field(
        default={},
        description="diagnosis of this data set -> diagnosis of labels.schemes with the same meaning; null: the images "
        "are excluded; a diagnosis that labels.schemes contains needs no entry",
    )

    def mapping(self, labels: Labels) -> dict[str, str]:
        """Diagnosis of this data set -> target class.

        Raises:
            ValueError: where `diagnoses` names a diagnosis that the scheme of `labels` lacks.
        """
        known = labels.mapping
        wrong = {theirs: ours for theirs, ours in self.diagnoses.items() if ours not in (None, *known)}
        if wrong:
            raise ValueError(
                f"external {self.name}: diagnoses maps {wrong}, expected some of {sorted(known)} "
                f"(labels.schemes.{labels.scheme}), or null to exclude such images"
            )
        own = {theirs: known[ours] for theirs, ours in self.diagnoses.items() if ours is not None}
        return {theirs: name for theirs, name in (known | own).items() if theirs not in self.excluded}

    @property
    def excluded(self) -> tuple[str, ...]:
        """The diagnoses whose images are excluded on purpose."""
        return tuple(theirs for theirs, ours in self.diagnoses.items() if ours is None)


def find_cohort(name: str, external: Sequence[Cohort]) -> Cohort:
    """The cohort of that name.

    Raises:
        SettingsError: where `external` has none.
    """
    for cohort in external:
        if cohort.name == name:
            return cohort
    raise SettingsError(
        f"external (params.yaml) has no cohort {name!r}, expected one of {[each.name for each in external]}"
    )


class KeptSplit(Frozen):
    """A former split that is kept: `dermflow data keep-split REV` writes the file and these two settings."""

    file: RelativePath = Field(description="table of images, ids and splits")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="of that file")


class Split(Frozen):
    """How images are divided into train, val and test; no group of images is divided."""

    group_by: tuple[Literal["patient_id", "lesion_id"], ...] = Field(
        min_length=1, description="images that share any of these form one group"
    )
    train: OpenShare = Field(description="of the images of each class")
    val: OpenShare = Field(description="of the images of each class")
    test: OpenShare = Field(description="of the images of each class")
    folds: int | None = Field(
        default=None,
        ge=3,
        description="folds of a cross-validation, each of which tests other images; null: one split by the shares",
    )
    fold: int = Field(default=0, ge=0, description="the fold that is tested; the next one is val")
    keep: KeptSplit | None = Field(
        default=None,
        description="the split of a former data version: its lesions and patients stay where they were, and only new "
        "ones are drawn; null: all are drawn",
    )
    seed: Seed

    @model_validator(mode="after")
    def _is_one_of_the_folds(self) -> Self:
        if self.fold >= (self.folds or 1):
            expected = f"0 to {self.folds - 1}" if self.folds else "0"
            folds = "null" if self.folds is None else self.folds
            raise ValueError(f"split.fold is {self.fold}, expected {expected}, since split.folds is {folds}")
        return self

    @model_validator(mode="after")
    def _keeps_no_split_with_folds(self) -> Self:
        if self.keep is not None and self.folds is not None:
            raise ValueError(
                f"split.keep names {self.keep.file}, but split.folds is {self.folds}: folds test every lesion once, so "
                "no test set is kept; set one of them to null"
            )
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(
                f"split.train + split.val + split.test is {self.train + self.val + self.test:g}, expected 1"
            )
        return self


class Pack(Frozen):
    """How images are decoded and resized, once for all trainings."""

    image_size: PositiveInt = Field(ge=16, le=1024, description="pixels, square")
    fit: Literal["crop", "pad"] = Field(description="crop: the centre square; pad: the whole image on black")
