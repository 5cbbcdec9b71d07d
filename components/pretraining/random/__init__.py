"""No pretraining: the weights stay as they were drawn. The baseline that every other arm must exceed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from components.base.config import Frozen

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session


class Config(Frozen):
    """No settings: the seed is that of the stage."""

    licence: ClassVar[None] = None
    baseline: ClassVar[bool] = True

    kind: Literal["random"] = "random"

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Leave the encoder as it is."""
        log.tags({"weights/source": f"random, seed {session.seed}"})
        return []
