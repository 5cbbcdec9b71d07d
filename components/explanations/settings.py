"""The settings of the explanations: which test images are shown, and when an attribution map may be read."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from components.base.config import Frozen
from components.base.fields import OpenShare, Seed


class Explain(Frozen):
    """What is shown of single predictions; no verdict and no other stage depends on it."""

    images: PositiveInt = Field(description="test lesions per class, drawn at random; the maps are checked on these")
    errors: int = Field(ge=0, description="most confident errors of each model")
    neighbours: PositiveInt = Field(description="nearest train lesions of a test image")
    steps: int = Field(ge=2, description="of the integral from a blurred image to the sharp one")
    same_from: OpenShare = Field(description="rank correlation from which two maps count as the same")
    max_missed: OpenShare = Field(description="share of the logits' change that the integral may miss")
    seed: Seed = Field(description="of the drawn lesions, and of the randomised weights")
