"""Training losses: cross-entropy, inverse-frequency weights, focal loss, label smoothing and mixed targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.models.encoder import Ints

Imbalance = Literal["none", "weights", "sampling", "focal"]


Reduction = Literal["mean", "none"]


Objective = Callable[[Tensor, Tensor], Tensor]
"""(B, K) logits and targets to one loss; targets are classes (B,), or shares of classes (B, K)."""


Loss = Callable[..., Tensor]
"""(B, K) logits and (B,) classes to their mean loss, or with reduction="none" to (B,) losses, as torch's own."""


def build_objective(
    imbalance: Imbalance, labels: Ints, classes: int, focal_gamma: float, label_smoothing: float = 0.0
) -> Objective:
    """The loss that is trained on; `labels` (N,) are the train images' and give the classes' frequencies."""
    loss: Loss = functional.cross_entropy  # for "sampling" the batches are balanced instead
    if imbalance == "weights":
        loss = partial(weighted_cross_entropy, weights=class_weights(labels, classes))
    if imbalance == "focal":
        loss = partial(focal_loss, gamma=focal_gamma)
    return partial(_of_targets, loss=loss, smoothing=label_smoothing)


def _of_targets(logits: Tensor, targets: Tensor, loss: Loss, smoothing: float) -> Tensor:
    """`loss` for classes (B,) as they are; smoothed or mixed ones are shares of classes."""
    if targets.ndim == 1 and smoothing == 0:
        return loss(logits, targets)
    count = logits.shape[1]
    shares = targets if targets.ndim == 2 else functional.one_hot(targets, count).to(logits.dtype)  # (B, K)
    return expected_loss(logits, shares * (1 - smoothing) + smoothing / count, loss)


def expected_loss(logits: Tensor, shares: Tensor, loss: Loss) -> Tensor:
    """Mean over the batch of sum_k share_k loss(class k), `shares` (B, K): the loss of a mixture is that of its parts.

    So it is in mixup (Zhang et al. 2018) and in torch's label smoothing. A class's weight or the focal factor acts on
    its own part alone.
    """
    batch, count = logits.shape
    each = logits.repeat_interleave(count, dim=0), torch.arange(count, device=logits.device).repeat(batch)
    losses = loss(*each, reduction="none").view(batch, count)  # (B, K), were the image of class k
    return (shares * losses).sum(dim=1).mean()


def class_weights(labels: Ints, classes: int) -> Tensor:
    """(K,) inversely proportional to the classes' frequencies; their mean over the images is 1.

    A class without images weighs 0.
    """
    counts = np.bincount(labels, minlength=classes)
    shares = np.full(classes, len(labels) / np.count_nonzero(counts))
    weights = np.divide(shares, counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean over the batch of weight times cross-entropy.

    torch's own `weight=` divides by the batch's summed weights, which makes an image's pull depend on its
    neighbours in the batch.
    """
    losses = functional.cross_entropy(logits, labels, reduction="none")  # (B,)
    weighted = weights.to(logits.device)[labels] * losses
    return weighted.mean() if reduction == "mean" else weighted


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, reduction: Reduction = "mean") -> Tensor:
    """-(1 - p)^gamma log p of the true class, mean over the batch (Lin et al. 2017, eq. 4, without alpha)."""
    logs = -functional.cross_entropy(logits, labels, reduction="none")  # (B,) log p
    doubt = (-torch.expm1(logs)).clamp(min=torch.finfo(logs.dtype).tiny)  # 1 - p; at 0 its root has no slope
    losses = doubt**gamma * logs
    return -(losses.mean() if reduction == "mean" else losses)
