"""The identical classification conditions: given them and a seed, two arms differ in the encoder alone.

Whatever else could differ is drawn from the seed, and hashed so that it can be compared: the train images, the
head's first weights, the batches, the augmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from components.augment import Augment, Augmentation, build
from components.classifier import (
    Classifier,
    Examples,
    Imbalance,
    Ints,
    Objective,
    balanced_batches,
    build_head,
    build_objective,
    describe_gap,
    measure,
)
from components.encoder import Encoder, embed, to_tensor, weights_sha256
from components.errors import TrainingError
from components.log import Log
from components.pixels import Pixels
from components.training import Fit, Session, adamw, fit, generator, shuffled

Row = dict[str, float]


@dataclass(frozen=True)
class Conditions:
    """All that a fine-tuning depends on besides encoder, images and seed."""

    classes: Sequence[str]
    protocol: Literal["frozen", "full"]
    epochs: int
    batch_size: int
    learning_rate: float  # peak, of AdamW
    weight_decay: float
    hidden: int  # units of the head's hidden layer
    dropout: float
    imbalance: Imbalance
    focal_gamma: float
    monitor: Literal["loss", "accuracy", "balanced_accuracy"]  # on val
    patience: int  # epochs
    augment: Augment


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


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning gave."""

    fit: Fit
    weights: dict[str, Tensor]  # the classifier's state dict at the best epoch
    fingerprints: dict[str, str]  # sha256 of all that must be equal for all arms


def finetune_encoder(
    encoder: Encoder,
    train: Examples,
    val: Examples,
    conditions: Conditions,
    session: Session,
    log: Log,
    settings: Mapping[str, object],
    what: str,
) -> Finetuned:
    """Train a classifier on `encoder`, which is changed in place under the protocol `full`.

    `settings` are what a resume state must have been made with, `what` names the run in errors and progress.
    """
    classifier = Classifier(encoder, _draw_head(encoder, conditions, session.seed))
    augmentation = build(conditions.augment, session.seed)
    orders = partial(_orders, train.labels, conditions, session.seed)
    prints = {
        "train_index_sha256": train.sha256(),
        "head_init_sha256": weights_sha256(classifier.head),
        "batches_sha256": _hash_orders(orders, conditions.epochs),
        "augmentation_sha256": augmentation.sha256(),
    }
    log.tags({"encoder/sha256": weights_sha256(encoder), **prints})
    session.place(classifier)
    steps = len(orders(0))
    result = fit(
        _learner(classifier, train, conditions, steps),
        partial(_batches, train, augmentation, orders),
        steps,
        epochs=conditions.epochs,
        session=session,
        log=log,
        settings={**settings, "encoder_sha256": weights_sha256(encoder), **prints, "val": val.sha256()},
        end_of_epoch=_watch(classifier, train, val, conditions, session),
        monitor=f"val/{conditions.monitor}",
        mode="min" if conditions.monitor == "loss" else "max",
        patience=conditions.patience,
        what=what,
    )
    weights = {name.removeprefix("classifier."): tensor for name, tensor in result.best_state.items()}
    classifier.load_state_dict(weights)
    log.tags({"weights/sha256": weights_sha256(classifier)})
    return Finetuned(result, weights, prints)


class Learner(pl.LightningModule):
    """The classifier as it is trained; frozen, its encoder learns nothing, BatchNorm's statistics included."""

    def __init__(
        self, classifier: Classifier, protocol: Literal["frozen", "full"], objective: Objective, optimise: Any
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.frozen = protocol == "frozen"
        self.objective = objective
        self.optimise = optimise
        classifier.encoder.requires_grad_(not self.frozen)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all that learns."""
        super().train(mode)
        if self.frozen:
            self.classifier.encoder.eval()
        return self

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """The objective on uint8 images (B, 3, S, S) and classes (B,)."""
        images, labels = batch
        with torch.set_grad_enabled(not self.frozen):
            features = self.classifier.encoder(images.float() / 255)  # (B, D)
        logits = self.classifier.head(features)  # (B, K)
        return {"loss": self.objective(logits.float(), labels)}

    def configure_optimizers(self) -> Any:
        """What `optimise` says."""
        return self.optimise(self)


def _draw_head(encoder: Encoder, conditions: Conditions, seed: int) -> Any:
    return build_head(encoder.feature_dim, conditions.hidden, conditions.dropout, len(conditions.classes), seed)


def _learner(classifier: Classifier, train: Examples, conditions: Conditions, steps: int) -> Learner:
    objective = build_objective(conditions.imbalance, train.labels, len(conditions.classes), conditions.focal_gamma)
    optimise = partial(
        adamw,
        learning_rate=conditions.learning_rate,
        weight_decay=conditions.weight_decay,
        total_steps=conditions.epochs * steps,
    )
    return Learner(classifier, conditions.protocol, objective, optimise)


def _orders(labels: Ints, conditions: Conditions, seed: int, epoch: int) -> list[Ints]:
    """An epoch's batches as row numbers."""
    if conditions.imbalance == "sampling":
        return balanced_batches(labels, conditions.batch_size, generator(seed, epoch))
    return shuffled(len(labels), conditions.batch_size, seed, epoch)


def _hash_orders(orders: Callable[[int], list[Ints]], epochs: int) -> str:
    """Hash of which image is in which batch, over all epochs that are planned."""
    digest = hashlib.sha256()
    for epoch in range(epochs):
        for rows in orders(epoch):
            digest.update(f"{epoch} {len(rows)} ".encode() + rows.tobytes())
    return digest.hexdigest()


def _batches(
    train: Examples, augmentation: Augmentation, orders: Callable[[int], list[Ints]], epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's augmented images (B, 3, S, S) uint8 and classes (B,)."""
    first = 0
    for rows in orders(epoch):
        images = augmentation(train.pixels.take(rows), epoch, first)
        yield to_tensor(images), torch.from_numpy(train.labels[rows])
        first += len(rows)


def _watch(
    classifier: Classifier, train: Examples, val: Examples, conditions: Conditions, session: Session
) -> Callable[[int], Row]:
    """What is measured after each epoch, on un-augmented images, alike for train and val.

    A frozen encoder's features cannot change, so they are computed once.
    """
    look = partial(embed, classifier.encoder)
    kept: list[Tensor] = []
    if conditions.protocol == "frozen":
        with session.autocast():
            kept = [look(split.in_order()) for split in (train, val)]  # (N, D) each

    def watch(_epoch: int) -> Row:
        features = kept or [look(split.in_order()) for split in (train, val)]
        splits = zip(features, (train, val), strict=True)
        return describe_gap(*(measure(classifier.head, found, split.labels) for found, split in splits))

    return watch
