"""The augmentation policy, written once: plain settings in, an albumentations pipeline out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.config import Frozen

Share = Annotated[float, Field(ge=0, lt=1)]


class Augment(Frozen):
    """What may happen to a train image; drawn alike for every arm."""

    flips_and_turns: bool = Field(description="the eight symmetries of the square")
    scale: Share = Field(description="zoom, +- share of the side")
    shift: Share = Field(description="+- share of the side")
    brightness: Share = Field(description="+- share")
    contrast: Share = Field(description="+- share")
    hue: int = Field(ge=0, le=90, description="degrees, +-")
    saturation: int = Field(ge=0, le=255, description="of 255, +-")
