"""The settings of the robustness analysis: which corruptions, at which strengths, on how many test images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, field_validator

from components.base.config import Frozen
from components.base.families import MemberOf
from components.base.fields import Seed

Strength = Annotated[int, Field(ge=1, le=5)]


class Robustness(Frozen):
    """What is measured on corrupted test images, and on test images without the lesion."""

    corruptions: tuple[Annotated[str, MemberOf("robustness.corruptions")], ...] = Field(
        min_length=1, description="files of components/robustness/corruptions, each applied alone"
    )
    strengths: tuple[Strength, ...] = Field(
        min_length=1, description="of each corruption, of five, in increasing order"
    )
    images: PositiveInt | None = Field(
        description="test images at most: whole lesions, rare classes kept first; null: all"
    )
    border: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        description="width of the ring that stays visible in the border-only picture, share of the side"
    )
    seed: Seed = Field(description="of the drawn test images and of the corruptions")

    @field_validator("corruptions")
    @classmethod
    def _no_repeats(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names a corruption twice")
        return values

    @field_validator("strengths")
    @classmethod
    def _increase(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("expected rising strengths, each once")
        return values
