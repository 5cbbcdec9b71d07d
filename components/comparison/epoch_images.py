"""The result of each train and val image after each epoch, read from a run and checked against its curve.

N images, E epochs, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError
from components.statistics.runs import Run

Array = npt.NDArray[Any]

SPLITS = ("train", "val")

ROUNDING = 1e-4
"""Largest difference between a loss or accuracy of the curve and the mean over the images."""

COLUMNS = ("image_id", "group", "split", "label", "loss", "predicted")


@dataclass(frozen=True)
class EpochImages:
    """One run on the images of one split."""

    names: Array  # (N,)
    groups: Array  # (N,)
    labels: Array  # (N,) index of the class
    losses: Array  # (N, E) float32, nats
    wrong: Array  # (N, E) bool: the predicted class is not the label


def read_epoch_images(run: Run, classes: Sequence[str]) -> dict[str, EpochImages]:
    """By split.

    Raises:
        DataError: names a run whose table lacks a column or a split, has an unknown label, or is not of its curve.
    """
    missing = [name for name in COLUMNS if name not in run.images]
    if missing:
        raise DataError(f"epoch_losses of finetune run {run.name} lack the columns {missing}; dvc repro -f finetune")
    found = {split: _of_split(run, split, classes) for split in SPLITS}
    for split, images in found.items():
        for name, values in (("loss", images.losses), ("accuracy", ~images.wrong)):
            _check_curve(run, f"{split}/{name}", values.mean(0, dtype=float))
    return found


def _of_split(run: Run, split: str, classes: Sequence[str]) -> EpochImages:
    table = run.images[run.images["split"] == split]
    if table.empty or not set(table["label"]) <= set(classes):
        raise DataError(
            f"epoch_losses of finetune run {run.name} have {len(table)} {split} images of the classes "
            f"{sorted(set(table['label']))}, expected images of {list(classes)}; dvc repro -f finetune"
        )
    labels = pd.Categorical(table["label"], categories=list(classes)).codes.astype(np.intp)
    wrong = np.stack(table["predicted"].to_list()) != labels[:, None]
    return EpochImages(
        names=table["image_id"].to_numpy(str),
        groups=table["group"].to_numpy(str),
        labels=labels,
        losses=np.stack(table["loss"].to_list()),
        wrong=wrong,
    )


def _check_curve(run: Run, name: str, means: Array) -> None:
    curve = run.curve[name].to_numpy(float)
    if len(curve) != len(means) or not np.allclose(curve, means, rtol=ROUNDING, atol=ROUNDING):
        raise DataError(
            f"epoch_losses of finetune run {run.name} are not of its curve: {name} is {means[-1]:.4f} after "
            f"{len(means)} epochs, in the curve {curve[-1]:.4f} after {len(curve)}; repeat: dvc repro -f finetune"
        )


def check_same_images(images: Mapping[str, Mapping[str, EpochImages]], seeds: Mapping[str, int]) -> None:
    """Raise DataError where runs of one seed have other train images, or any runs other val images.

    Args:
        images: by run and split.
        seeds: by run.
    """
    first: dict[object, str] = {}
    for run, found in images.items():
        for split, key in (("train", ("train", seeds[run])), ("val", "val")):
            earlier = first.setdefault(key, run)
            if not np.array_equal(found[split].names, images[earlier][split].names):
                raise DataError(
                    f"epoch_losses of finetune runs {earlier} and {run} are of different {split} images "
                    f"({len(images[earlier][split].names)} and {len(found[split].names)}), expected the same for "
                    f"arms to be compared; repeat both: dvc repro -f finetune"
                )
