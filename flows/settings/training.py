"""Settings of pretraining; those of fine-tuning are in components/training/settings.py."""

from __future__ import annotations

from typing import Annotated

from components.base.config import Frozen, OneOf
from components.base.fields import Name
from components.pretraining import Method


class Pretrain(Frozen):
    """The arms: how each encoder gets its weights."""

    arms: dict[Name, Annotated[Method, OneOf("pretraining")]]
