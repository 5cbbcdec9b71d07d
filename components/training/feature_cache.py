"""Features of a frozen encoder, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from components.models.encoder import Encoder, embed
from components.training.examples import Examples
from components.training.loop import Session


class Kept:
    """A frozen encoder's features, each set computed when first asked for, in memory."""

    def __init__(self, encoder: Encoder, session: Session) -> None:
        self.encoder, self.session = encoder, session
        self.features: dict[object, Tensor] = {}

    def __call__(self, name: object, images: Callable[[], Iterable[Tensor]]) -> Tensor:
        """Features (N, D) of uint8 `images`, which `name` stands for."""
        if name not in self.features:
            with self.session.autocast():
                self.features[name] = embed(self.encoder, images())
        return self.features[name]

    def plain(self, split: Examples) -> Tensor:
        """Features of a split's images as they are."""
        return self(id(split), split.in_order)
