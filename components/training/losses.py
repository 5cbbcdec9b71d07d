"""Training losses: cross-entropy, inverse-frequency weights, focal loss, label smoothing and mixed targets.

B batch, N train images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.models.encoder import Ints
from components.training.settings import Imbalance

Reduction = Literal["mean", "none"]


Objective = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, K) and targets to the mean loss; targets are classes (B,) or shares of classes (B, K)."""


Loss = Callable[..., Tensor]
"""Logits (B, K) and classes (B,) to the mean loss, or to losses (B,) with reduction="none", as in torch."""


def build_objective(
    imbalance: Imbalance, labels: Ints, classes: int, focal_gamma: float, label_smoothing: float = 0.0
) -> Objective:
    """The loss that training minimizes.

    Args:
        imbalance: how rare classes are treated; "sampling" changes the batches, not the loss.
        labels: class indices (N,) of the train images; they give the frequency of each class.
        classes: number of classes K.
        focal_gamma: exponent of the focal loss.
        label_smoothing: share of each target that is spread over all classes, in [0, 1).
    """
    loss: Loss = functional.cross_entropy
    if imbalance == "weights":
        loss = partial(weighted_cross_entropy, weights=class_weights(labels, classes))
    if imbalance == "focal":
        loss = partial(focal_loss, gamma=focal_gamma)
    return partial(_loss_of_targets, loss=loss, smoothing=label_smoothing)


def _loss_of_targets(logits: Tensor, targets: Tensor, loss: Loss, smoothing: float) -> Tensor:
    """`loss` of classes (B,) directly; of smoothed or mixed targets as shares of classes."""
    if targets.ndim == 1 and smoothing == 0:
        return loss(logits, targets)
    count = logits.shape[1]
    shares = targets if targets.ndim == 2 else functional.one_hot(targets, count).to(logits.dtype)  # (B, K)
    return expected_loss(logits, shares * (1 - smoothing) + smoothing / count, loss)


def expected_loss(logits: Tensor, shares: Tensor, loss: Loss) -> Tensor:
    """Mean over the batch of sum_k share_k loss(class k), with `shares` (B, K).

    This is the loss of mixup (Zhang et al. 2018) and of torch's label smoothing. The weight of a class, or its focal
    factor, multiplies the term of that class only.
    """
    batch, count = logits.shape
    each = logits.repeat_interleave(count, dim=0), torch.arange(count, device=logits.device).repeat(batch)
    losses = loss(*each, reduction="none").view(batch, count)  # (B, K), as if the image were of class k
    return (shares * losses).sum(dim=1).mean()


def class_weights(labels: Ints, classes: int) -> Tensor:
    """Weights (K,) inversely proportional to the class frequencies of `labels` (N,), with mean 1 over the images.

    The weight of a class without images is 0.
    """
    counts = np.bincount(labels, minlength=classes)
    shares = np.full(classes, len(labels) / np.count_nonzero(counts))
    weights = np.divide(shares, counts, out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean over the batch of weight times cross-entropy.

    The `weight=` of torch divides by the sum of the weights in the batch, which makes the gradient of an image depend
    on the other images of the batch.
    """
    losses = functional.cross_entropy(logits, labels, reduction="none")  # (B,)
    weighted = weights.to(logits.device)[labels] * losses
    return weighted.mean() if reduction == "mean" else weighted


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, reduction: Reduction = "mean") -> Tensor:
    """-(1 - p)^gamma log p of the true class, mean over the batch (Lin et al. 2017, eq. 4, without alpha)."""
    logs = -functional.cross_entropy(logits, labels, reduction="none")  # (B,) log p
    # 1 - p stays above 0, since the gradient of a root is not finite at 0
    complement = (-torch.expm1(logs)).clamp(min=torch.finfo(logs.dtype).tiny)  # (B,)
    losses = complement**gamma * logs
    return -(losses.mean() if reduction == "mean" else losses)
