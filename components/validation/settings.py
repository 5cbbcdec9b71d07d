"""Settings of data validation: where images are scanned, which images are admitted, what a whole data set must meet.

Values and their checks only: importing this module loads no image library.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from components.base.config import Frozen
from components.base.fields import Share
from components.base.home import without_home

AdmissibleProblem = Literal["wrong_extension", "trailing_bytes", "cmyk", "sixteen_bit", "grey", "animated", "alpha"]
"""Problems of images that can still be decoded: the setting `validate.admit` or a person may accept them."""


class Scan(Frozen):
    """Where images are scanned. Not part of a stage's freshness: the table is the same wherever it is made."""

    workers: PositiveInt = Field(description="processes on this host")
    cluster: str | None = Field(
        pattern=r"^[a-z]+://", description="address of a dask scheduler, such as tcp://host:8786; null: this host"
    )


class NearDuplicates(Frozen):
    """Which altered copies of an image are searched for; every candidate is confirmed on pixels."""

    distance: int = Field(ge=0, le=12, description="bits of 64 by which two perceptual hashes may differ")
    crops: bool = Field(description="also search for copies of a part of an image")


class AcceptanceLimits(Frozen):
    """Limits for the images of a data set as a whole; the defaults suit dermoscopy."""

    mostly: Share = Field(
        default=0.99, description="share of images that must keep each of the limits on single images"
    )
    max_aspect: float = Field(
        default=3.0, ge=1, description="longer side by shorter; a centre crop of a longer strip sees less than a third"
    )
    luma: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(10.0, 245.0), description="mean, of 255; beyond, an image is black or blank"
    )
    max_dark: Share = Field(default=0.6, description="share of an image's pixels that are black, vignette included")
    max_bright: Share = Field(
        default=0.5, description="share of an image's pixels that are white, as from flash or glare"
    )
    saturation: tuple[Share, Share] = Field(
        default=(0.02, 0.8), description="mean chroma; below, an image has no colour"
    )
    min_sharpness: NonNegativeFloat = Field(
        default=3.0, description="variance of the Laplacian on 8-bit luma; below, an image shows no edge"
    )
    max_vignette: Share = Field(default=0.6, description="share of an image's pixels that are black border")
    min_distinct: Share = Field(
        default=0.5, description="share of files that are distinct; below, the data set was probably unpacked twice"
    )
    max_share_drift: Share = Field(
        default=0.05,
        description="difference from the class shares of validate.reference; missing shares may rise by it",
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name, (low, high) in {"luma": self.luma, "saturation": self.saturation}.items():
            if low > high:
                raise ValueError(f"{name} is [{low:g}, {high:g}], expected the lower limit first")
        return self


class Validate(Frozen):
    """What rows and images must be like, and when a data set as a whole is accepted."""

    max_quarantined_share: Share = Field(description="of all rows; above it the run stops")
    min_side: PositiveInt = Field(description="pixels; an image with a shorter side is quarantined")
    min_groups_per_class: PositiveInt = Field(description="lesions or patients; fewer stop the run")
    max_missing_share: Share | None = Field(
        description="of rows, for age, sex and site each; null: they may be unknown"
    )
    admit: tuple[AdmissibleProblem, ...] = Field(description="problems that all images may have, such as grey")
    near_duplicates: NearDuplicates
    reference: Annotated[str, AfterValidator(without_home)] | None = Field(
        min_length=1,
        description="the accepted version that this one is compared with: a git revision, or a validation.json's path",
    )
    limits: AcceptanceLimits
