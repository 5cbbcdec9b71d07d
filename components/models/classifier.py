"""A backbone with the identical head, its losses, and what is measured of it.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic_core import to_jsonable_python
from torch import Tensor, nn
from torch.nn import functional

from components.base.errors import CheckpointError
from components.data.pixels import Pixels
from components.models.backbone import Backbone
from components.models.encoder import VERSION, Encoder, check_header, embed, read_tensors, save_tensors, to_tensor
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.macro_auroc import macro_auroc

Imbalance = Literal["none", "weights", "sampling", "focal"]
Reduction = Literal["mean", "none"]
Objective = Callable[[Tensor, Tensor], Tensor]
"""(B, K) logits and targets to one loss; targets are classes (B,), or shares of classes (B, K)."""
Loss = Callable[..., Tensor]
"""(B, K) logits and (B,) classes to their mean loss, or with reduction="none" to (B,) losses, as torch's own."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
LOOK = 256  # images a batch where nothing is learned
MEND = "rerun the stage finetune"


FLOOR = 1e-12  # variance; far below that of an untrained encoder's features, which PyTorch's 1e-5 would flatten


class Head(nn.Sequential):
    """Two layers on standardised features: BatchNorm, Linear, GELU, dropout, Linear; (B, D) to logits (B, K).

    The first step has nothing to learn. Without it a learning rate would compare the scale of the arms' features,
    which differs by orders of magnitude between ImageNet's and an untrained encoder's, instead of what they tell.
    """

    def __init__(self, feature_dim: int, hidden: int, dropout: float, classes: int) -> None:
        standardise = nn.BatchNorm1d(feature_dim, eps=FLOOR, affine=False)
        layers = (nn.Linear(feature_dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes))
        super().__init__(standardise, *layers)


class Classifier(nn.Module):
    """An encoder and the head on its features."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to logits (B, K)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits


def build_head(feature_dim: int, hidden: int, dropout: float, classes: int, seed: int) -> Head:
    """The head with first weights that depend on `seed` and its shape alone, so all arms get the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(feature_dim, hidden, dropout, classes)


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


def balanced_batches(labels: Ints, batch_size: int, numbers: np.random.Generator) -> list[Ints]:
    """An epoch's row numbers in batches (B,): as many as there are images, classes equally often.

    Images are drawn with replacement; classes without images are left out. Counts of classes differ by at
    most one over the epoch. A rest of one image is left out: BatchNorm cannot learn from one.
    """
    present = np.unique(labels)
    turns = numbers.permutation(np.resize(present, len(labels)))  # (N,) the class at each position
    rows = np.empty(len(labels), dtype=np.int64)
    for k in present:
        here = np.flatnonzero(turns == k)
        rows[here] = numbers.choice(np.flatnonzero(labels == k), size=len(here))
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


@dataclass(frozen=True)
class Examples:
    """Images with the classes that they are of."""

    pixels: Pixels
    labels: Ints  # (N,)

    def in_order(self) -> Iterator[Tensor]:
        """All images as they are, (B, 3, S, S) uint8."""
        rows = np.arange(len(self.labels))
        return (to_tensor(self.pixels.take(rows[start : start + LOOK])) for start in range(0, len(rows), LOOK))

    def sha256(self) -> str:
        """Hash of what the images are, and in which order."""
        return hashlib.sha256(self.pixels.index.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def alike(train: Examples, val: Examples, seed: int) -> Examples:
    """Train images of which each class has as many as in val, drawn once from `seed`: what a gap is measured on.

    Loss and accuracy depend on the mix of classes, balanced accuracy on which classes there are, and all of them
    spread more in the smaller sample: equal counts leave memorising as the only difference. Of a class with fewer
    train images than val images all are taken.
    """
    rows = matched_rows(train.labels, val.labels, seed)
    return Examples(train.pixels.rows(rows), train.labels[rows])


def matched_rows(train: Ints, val: Ints, seed: int) -> Ints:
    """Rows of train labels (N,) with as many of each class as val labels have, in order."""
    rng = np.random.default_rng([seed, 0x6A9])  # draws of its own
    wanted = np.bincount(val)
    rows = [np.flatnonzero(train == k) for k in range(len(wanted))]
    drawn = [rng.choice(own, min(count, len(own)), replace=False) for own, count in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))


@torch.no_grad()
def measure(head: Head, features: Tensor, labels: Ints) -> dict[str, float]:
    """Mean cross-entropy (unweighted, in nats), accuracy, balanced accuracy and macro AUROC of features (N, D)."""
    logits = _logits(head, features).double()  # (N, K)
    loss = functional.cross_entropy(logits, torch.from_numpy(labels))
    p = logits.softmax(dim=1).numpy()
    return {
        "loss": float(loss),
        "accuracy": accuracy(labels, p),
        "balanced_accuracy": balanced_accuracy(labels, p),
        "macro_auroc": macro_auroc(labels, p),
    }


def describe_gap(train: Mapping[str, float], val: Mapping[str, float]) -> dict[str, float]:
    """One row of the curve: both splits' measures, and how far they are apart, positive when overfitting."""
    row = {f"train/{name}": value for name, value in train.items()}
    row |= {f"val/{name}": value for name, value in val.items()}
    worse = {name: (1 if name == "loss" else -1) * (val[name] - train[name]) for name in train}
    return row | {f"gap/{name}": value for name, value in worse.items()}


@torch.no_grad()
def predict(classifier: Classifier, batches: Iterable[Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, K) class probabilities of uint8 batches (B, 3, S, S), in evaluation mode."""
    logits = _logits(classifier.head, embed(classifier.encoder, batches))
    probabilities: np.ndarray[Any, np.dtype[np.float64]] = logits.double().softmax(dim=1).numpy()
    return probabilities


def _logits(head: Head, features: Tensor) -> Tensor:
    """(N, D) to logits (N, K) on the CPU, in evaluation mode and float32 whatever surrounds it."""
    learns, device = head.training, next(head.parameters()).device
    head.eval()
    with torch.autocast(device.type, enabled=False):
        logits: Tensor = head(features.to(device)).cpu()
    head.train(learns)
    return logits


def save_classifier(
    path: Path, state: Mapping[str, Tensor], backbone: Backbone, provenance: Mapping[str, object]
) -> None:
    """Write a classifier's state dict with its backbone's settings and `provenance`, whole or not at all.

    `provenance` holds `classes` (their names in order) and `head` (hidden, dropout), which reading needs.
    """
    header = {"kind": "classifier", "version": VERSION, "backbone": to_jsonable_python(backbone)}
    save_tensors(path, state, header | dict(provenance))


def load_classifier(path: Path, backbone: Backbone, classes: Sequence[str]) -> Classifier:
    """The classifier of a file made with the same backbone and classes, in evaluation mode."""
    header = check_header(path, kind="classifier", backbone=backbone, mend=MEND)
    if list(header["classes"]) != list(classes):
        raise CheckpointError(
            f"{path}: was made for classes {header['classes']}, but labels.scheme (params.yaml) now has "
            f"{list(classes)}; {MEND}"
        )
    encoder = backbone.build()
    head = Head(encoder.feature_dim, header["head"]["hidden"], header["head"]["dropout"], len(classes))
    classifier = Classifier(encoder, head)
    classifier.load_state_dict(read_tensors(path))
    return classifier.eval()
