"""The loss and the predicted class of each image after each epoch, on the images of the overfitting gap.

From them the gap can be measured again on resampled lesions. E epochs, N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from components.training.epoch_metrics import Measured
from components.training.examples import Examples

SPLITS = ("train", "val")
"""In this order in every epoch; the train images are those of `match_classes`."""


class ImageHistory(pl.Callback):
    """The results by epoch, and a part of the resume state: they cannot be computed again from later weights."""

    state_key = "image_history"
    """Where a resume state keeps `state_dict`."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []  # (N,) float32 an epoch, nats
        self.predicted: list[Tensor] = []  # (N,) int16 an epoch, index of the class

    def add(self, train: Measured, val: Measured) -> None:
        """Append an epoch."""
        self.losses.append(torch.cat([train.losses, val.losses]).float())
        self.predicted.append(torch.cat([train.predicted, val.predicted]).to(torch.int16))

    def extend(self, later: Self) -> None:
        """Append the epochs of a later phase, on the same images."""
        self.losses += later.losses
        self.predicted += later.predicted

    def state_dict(self) -> dict[str, Any]:
        """Tensors for the resume state."""
        return {"losses": list(self.losses), "predicted": list(self.predicted)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.losses, self.predicted = list(state_dict["losses"]), list(state_dict["predicted"])

    def table(self, train: Examples, val: Examples, classes: Sequence[str]) -> pd.DataFrame:
        """One row an image: split, image_id, group, label; lists of E values: loss (float32), predicted (int16).

        Args:
            train: the images of `match_classes`, in the order in which they were measured.
            val: the same for val.
            classes: names by index.
        """
        tables = [
            examples.pixels.index[["image_id", "group"]].assign(split=split, label=np.array(classes)[examples.labels])
            for split, examples in zip(SPLITS, (train, val), strict=True)
        ]
        losses, predicted = (torch.stack(values, dim=1).numpy() for values in (self.losses, self.predicted))  # (N, E)
        return pd.concat(tables, ignore_index=True).assign(loss=list(losses), predicted=list(predicted))
