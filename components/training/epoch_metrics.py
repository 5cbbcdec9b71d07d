"""The metrics after each epoch on train and val: loss, accuracy, balanced accuracy, macro AUROC, and their gaps.

N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from components.models.classifier import Head, head_logits
from components.models.encoder import Ints
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import WORST
from components.statistics.metrics.macro_auroc import macro_auroc


@dataclass(frozen=True)
class Measured:
    """A head on the images of one split."""

    metrics: dict[str, float]
    """`loss` (mean unweighted cross-entropy, nats), `accuracy`, `balanced_accuracy` and `macro_auroc`, in [0, 1]."""
    losses: Tensor  # (N,) float64 of each image, nats
    predicted: Tensor  # (N,) index of the most probable class


@torch.no_grad()
def measure(head: Head, features: Tensor, labels: Ints) -> Measured:
    """Metrics of the head on features (N, D) with class indices `labels` (N,), and the results of each image."""
    logits = head_logits(head, features).double()  # (N, K)
    p = logits.softmax(dim=1).numpy()
    metrics = {
        "loss": mean_loss(logits, labels),
        "accuracy": accuracy(labels, p),
        "balanced_accuracy": balanced_accuracy(labels, p),
        "macro_auroc": macro_auroc(labels, p),
    }
    return Measured(metrics, image_losses(logits, labels), torch.from_numpy(p.argmax(axis=1)))


def mean_loss(logits: Tensor, labels: Ints) -> float:
    """The loss that `log_loss` gives for the predictions of float64 `logits` (N, K), in nats.

    It is computed from the logits, so that no probability is rounded to 1 first.
    """
    losses = image_losses(logits, labels)
    if float(losses.max()) >= WORST:
        return float(losses.mean())
    return float(functional.cross_entropy(logits, torch.from_numpy(labels)))  # sums in another order than mean()


def image_losses(logits: Tensor, labels: Ints) -> Tensor:
    """The loss of each image, (N,), at most WORST: probabilities cannot tell higher losses apart."""
    return functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none").clamp(max=WORST)


def describe_gap(train: Mapping[str, float], val: Mapping[str, float]) -> dict[str, float]:
    """One row of the curve: the metrics of both splits and their gaps, which are positive under overfitting."""
    row = {f"train/{name}": value for name, value in train.items()}
    row |= {f"val/{name}": value for name, value in val.items()}
    worse = {name: (1 if name == "loss" else -1) * (val[name] - train[name]) for name in train}
    return row | {f"gap/{name}": value for name, value in worse.items()}
