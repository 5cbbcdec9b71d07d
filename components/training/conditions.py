"""The identical classification conditions: all that a fine-tuning depends on besides encoder, images and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.base.errors import TrainingError
from components.data.pixels import Pixels
from components.training.augment import Augment
from components.training.examples import Examples
from components.training.losses import Imbalance
from components.training.optimizers import Decay


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with a schedule of its own: the head alone learns, or the whole net."""

    protocol: Literal["frozen", "full"]
    epochs: int
    learning_rate: float  # peak, of AdamW


@dataclass(frozen=True)
class Conditions:
    """All that a fine-tuning depends on besides encoder, images and seed; flows.settings.Finetune says what each is."""

    classes: Sequence[str]
    phases: Sequence[Phase]  # each goes on from the best epoch of the one before
    batch_size: int
    weight_decay: float
    hidden: int  # units of the head's hidden layer
    dropout: float
    imbalance: Imbalance
    focal_gamma: float
    monitor: Literal["loss", "accuracy", "balanced_accuracy"]  # on val
    patience: int  # epochs
    augment: Augment
    warm_up: float = 0.1
    decay: Decay = "cosine"
    clip: float | None = None
    ema: float | None = None
    label_smoothing: float = 0.0
    views: int | None = None
    layer_decay: float = 1.0
    freeze: int = 0
    drop_path: float | None = None
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def trains_encoder(self) -> bool:
        """Whether any phase does."""
        return any(phase.protocol == "full" for phase in self.phases)


def read_examples(pixels: Pixels, classes: Sequence[str], split: str) -> Examples:
    """The split's images with their classes; TrainingError where they are of fewer than two."""
    labels = pixels.labels(classes)
    names = [classes[k] for k in np.unique(labels)]
    if len(names) < 2:
        raise TrainingError(
            f"{split} has {len(labels)} images of classes {names}, expected at least two classes: "
            f"mend labels.scheme or split (params.yaml)"
        )
    return Examples(pixels, labels)
