"""Settings of the bundle: which run it holds, how its answers are given, and when it replaces the one in use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

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
    unlike: OpenShare = Field(description="share of val lesions that would count as unlike the train images")


class Promotion(Frozen):
    """What a new model must reach before it replaces the one in use."""

    approval: Literal["person", "automatic"] = Field(
        description="person: `dermflow promote` proposes and a person approves; automatic: what passes is promoted"
    )
    recommended: bool = Field(description="whether the study's verdict must recommend the run")
    lesions: PositiveInt = Field(description="test lesions of each class below which nothing is decided")
    gap: PositiveFloat = Field(description="nats; the overfitting gap may not be larger")
    accuracy: OpenShare = Field(description="by which balanced accuracy may be lower than the champion's")
    sensitivity: OpenShare = Field(
        description="by which the share of a malignant class that is called malignant may be lower"
    )
    specificity: OpenShare = Field(description="by which the share of benign images not called malignant may be lower")
    log_loss: PositiveFloat = Field(description="nats, by which the log loss of calibrated probabilities may be higher")
