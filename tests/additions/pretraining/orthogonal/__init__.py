"""No training: every convolution gets orthogonal weights (Saxe et al. 2014); another baseline next to `random`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from components.base.config import Frozen

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session


class Config(Frozen):
    """How strong the first weights are."""

    licence: ClassVar[None] = None  # no weights of anyone else are used
    baseline: ClassVar[bool] = True  # nothing is learned: the page says of each other arm whether it is above

    kind: Literal["orthogonal"] = "orthogonal"
    gain: PositiveFloat = Field(default=1.0, description="factor of each weight matrix; 1 keeps lengths")

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Draw the weights of every convolution anew, from the stage's seed."""
        import torch
        from torch import nn

        torch.manual_seed(session.seed)
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.orthogonal_(module.weight, self.gain)
        log.tags({"weights/source": f"orthogonal, gain {self.gain:g}, seed {session.seed}"})
        return []
