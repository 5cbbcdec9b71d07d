"""Colour and edges: 48 quantiles of an image's pixels instead of a network; a baseline that knows no shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from components.base.config import Frozen
from components.pretraining.colour.architecture import Config as Architecture

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session


class Config(Frozen):
    """No settings: the features have no weights, so no seed changes them."""

    licence: ClassVar[None] = None
    baseline: ClassVar[bool] = True

    kind: Literal["colour"] = "colour"

    @property
    def backbone(self) -> Architecture:
        """Quantiles in place of the settings' backbone."""
        return Architecture()

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Leave the encoder as it is: it has no weights."""
        log.tags({"weights/source": "none: quantiles of colour and edge strength"})
        return []
