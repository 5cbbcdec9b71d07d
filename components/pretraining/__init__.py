"""How an encoder gets its weights: one way a file; all end in the same artifact.

A method's `Config` has `kind` and `fit`; torch is imported inside `fit` only, so that settings can be read
without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.loop import Session


class Method(Protocol):
    """What the stage pretrain needs of a way to get weights."""

    kind: str

    def fit(
        self,
        encoder: Encoder,
        backbone: Backbone,
        train: Pixels,
        val: Pixels,
        session: Session,
        log: Log,
    ) -> Sequence[Mapping[str, float]]:
        """Change the encoder's weights in place; return the numbers of each epoch, none where nothing learns.

        `train` holds train and unlabelled images, `val` validation images; test images never come here.
        """

    def model_dump(self, *, mode: Literal["json"]) -> dict[str, Any]:
        """The settings as plain values."""
