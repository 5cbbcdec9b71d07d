"""Features of a frozen encoder, computed once: a frozen encoder gives the same features each time.

N images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from components.models.encoder import Encoder, embed
from components.training.examples import Examples
from components.training.session import Session


class FeatureCache:
    """Sets of features in memory, each computed the first time it is needed."""

    def __init__(self, encoder: Encoder, session: Session) -> None:
        self.encoder, self.session = encoder, session
        self.features: dict[object, Tensor] = {}

    def __call__(self, name: object, images: Callable[[], Iterable[Tensor]]) -> Tensor:
        """Features (N, D) of the uint8 batches of `images`; `name` identifies them in the cache."""
        if name not in self.features:
            with self.session.autocast():
                self.features[name] = embed(self.encoder, images())
        return self.features[name]

    def without_augmentation(self, examples: Examples) -> Tensor:
        """Features (N, D) of the examples' images without augmentation."""
        return self(id(examples), examples.in_order)
