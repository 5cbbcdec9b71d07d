"""ImageNet transfer: published weights, verified by their hash, without further training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from components.models.initial_weights import initialise
from components.models.published import Published

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session


class Config(Published):
    """The source of the weights."""

    baseline: ClassVar[bool] = False

    kind: Literal["imagenet"] = "imagenet"

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Load the published weights; WeightsError where they are missing, changed, or of another network."""
        origin = initialise(encoder, self, backbone)
        log.tags({"weights/source": origin})
        log.line(f"ImageNet weights: {origin}")
        return []
