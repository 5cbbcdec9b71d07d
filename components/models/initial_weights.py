"""The weights that a pretraining method starts from: random ones, or published ImageNet weights.

A method that offers the choice has a setting `init: Init = "random"`, states `licence_of(self.init)` as its `licence`,
and calls `initialise(encoder, self.init, backbone)` at the start of `fit`, before it builds its learner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.models.normalisation import adopt_normalisation
from components.models.published import Published, load_weights

if TYPE_CHECKING:
    from components.base.licence import Licence
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder

Init = Literal["random", "imagenet"] | Published
"""`imagenet` is short for {source: package}, the weights of the installed package."""


def published_of(init: Init) -> Published | None:
    """The source of published weights; None for random weights."""
    if isinstance(init, Published):
        return init
    return Published() if init == "imagenet" else None


def licence_of(init: Init) -> Licence | None:
    """Terms of the published weights; None for random weights."""
    published = published_of(init)
    return None if published is None else published.licence


def initialise(encoder: Encoder, init: Init, backbone: Backbone) -> str:
    """Set the weights of a randomly drawn `encoder` in place; random ones stay as they are.

    Returns:
        Their origin as text: `random weights`, or the source of the ImageNet weights with their sha256.

    Raises:
        WeightsError: where published weights are missing, changed, or of another network.
    """
    published = published_of(init)
    if published is None:
        return "random weights"
    origin = load_weights(encoder.trunk, published, backbone)
    adopt_normalisation(encoder, backbone.expects)
    return origin
