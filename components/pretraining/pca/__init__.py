"""Principal components of the pixels of train images instead of a network; a baseline that knows no invariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from components.base.config import Frozen
from components.pretraining.pca.architecture import Config as Architecture

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.training.session import Session

EXAMPLE = {"components": 8, "side": 16}


class Config(Frozen):
    """How many components, of images of which size.

    They are not divided by their standard deviations: the classifier's head standardises the features of every arm.
    """

    licence: ClassVar[None] = None
    baseline: ClassVar[bool] = True

    kind: Literal["pca"] = "pca"
    components: PositiveInt = Field(default=64, description="features; fewer than train images, and than pixels")
    side: PositiveInt = Field(default=32, description="pixels to which images are averaged first")

    @property
    def backbone(self) -> Architecture:
        """A projection in place of the settings' backbone."""
        return Architecture(components=self.components, side=self.side)

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> None:
        """Nothing is trained by gradients."""

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Compute the components of train images, labelled or not.

        Raises:
            SettingsError: where there are not more images or pixels than components.
        """
        from components.models.principal_components import check_count, draw_rows
        from components.pretraining.pca.projection import fit_projection

        check_count(self.components, len(train), self.side, self.kind)
        rows = draw_rows(len(train), session.seed)
        share = fit_projection(encoder, train.take, rows)
        log.tags({"weights/source": f"{self.components} principal components of {len(rows)} train images"})
        log.line(f"{self.components} principal components have {100 * share:.1f} % of the variance of the train images")
        return []
