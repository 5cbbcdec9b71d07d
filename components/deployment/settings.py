"""Settings of the bundle: which run it holds, and how its answers are given."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from components.base.config import Frozen
from components.base.fields import OpenShare


class Point(Frozen):
    """One operating point of `clinical.levels`."""

    fixed: Literal["sensitivity", "specificity"] = Field(description="the rate for which val chose the threshold")
    level: OpenShare = Field(description="of that rate on val; one of clinical.levels")


class Bundle(Frozen):
    """The model for use."""

    run: str | None = Field(description="such as imagenet-frozen-0; null: the run that compare recommends")
    point: Point = Field(description="at which an image is called malignant")
    components: PositiveInt = Field(
        description="principal components of the train features, from which the distance of an image is measured"
    )
    unlike: OpenShare = Field(description="share of val images that would count as unlike the train images")
