"""No pretraining: the weights stay as they were drawn. The floor that every other arm must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from components.base.config import Frozen

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.loop import Session


class Config(Frozen):
    """Nothing to set: the seed is the stage's."""

    kind: Literal["random"] = "random"

    def fit(
        self, encoder: Encoder, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Leave the encoder alone and say so."""
        log.tags({"weights/source": f"random, seed {session.seed}"})
        return []
