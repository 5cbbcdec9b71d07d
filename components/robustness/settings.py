"""The settings of the robustness analysis: which corruptions, at which strengths, on how many test images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from components.base.config import Frozen
from components.base.families import MemberOf
from components.base.fields import Distinct, Rising, Seed

Strength = Annotated[int, Field(ge=1, le=5)]


class Robustness(Frozen):
    """What is measured on corrupted test images, and on test images without the lesion."""

    corruptions: Annotated[tuple[Annotated[str, MemberOf("robustness.corruptions")], ...], Distinct] = Field(
        min_length=1, description="files of components/robustness/corruptions, each applied alone"
    )
    strengths: Annotated[tuple[Strength, ...], Rising] = Field(
        min_length=1, description="of each corruption, of five, in increasing order"
    )
    images: PositiveInt | None = Field(
        description="test images at most: whole lesions, rare classes kept first; null: all"
    )
    border: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        description="width of the ring that stays visible in the border-only picture, share of the side"
    )
    seed: Seed = Field(description="of the drawn test images and of the corruptions")
