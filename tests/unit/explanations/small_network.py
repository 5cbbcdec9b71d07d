"""The backbone and image size of the tests of maps."""

from __future__ import annotations

from components.models.backbones.timm import Config as Timm

BACKBONE = Timm(name="test_efficientnet")
SIDE = 32
