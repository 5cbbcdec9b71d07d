"""The train images of a fine-tuning in batches: augmented, mixed, or as features of a frozen encoder.

B batch, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from components.models.encoder import INFERENCE_BATCH, Images, Ints, to_tensor
from components.training.augment import build_augmentation
from components.training.batches import EpochBatches, balanced_batches, generator, shuffled_batches
from components.training.conditions import Conditions
from components.training.examples import Examples
from components.training.feature_cache import FeatureCache
from components.training.mixing import Mixing

Batch = tuple[Tensor, Tensor]


class FinetuneBatches:
    """The batches of each epoch; every draw is a pure function of seed and epoch. Epochs count over all phases."""

    def __init__(self, train: Examples, conditions: Conditions, seed: int) -> None:
        self.train = train
        self.conditions = conditions
        self.seed = seed
        self.augmentation = build_augmentation(conditions.augment, seed)
        finetune = conditions.finetune
        self.mixing = None
        if conditions.trains_encoder and (finetune.mixup > 0 or finetune.cutmix > 0):
            self.mixing = Mixing(finetune.mixup, finetune.cutmix, classes=len(conditions.classes), seed=seed)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.orders(0))

    def orders(self, epoch: int) -> list[Ints]:
        """The row numbers (B,) of each batch of an epoch."""
        labels, batch_size = self.train.labels, self.conditions.finetune.batch_size
        if self.conditions.finetune.imbalance == "sampling":
            return balanced_batches(labels, batch_size, generator(self.seed, epoch))
        return shuffled_batches(len(labels), batch_size, self.seed, epoch)

    def images(self, epoch: int) -> EpochBatches:
        """Augmented images (B, 3, S, S) uint8 and classes (B,)."""

        def draw(_step: int, rows: Ints, first: int) -> Batch:
            return to_tensor(self.augmented(rows, epoch, first)), torch.from_numpy(self.train.labels[rows])

        return EpochBatches(self.orders(epoch), draw, names=self.names)

    def mixed(self, epoch: int) -> EpochBatches:
        """The same images mixed, with shares of classes (B, K); as `images` where the conditions do not mix."""
        mixing = self.mixing
        if mixing is None:
            return self.images(epoch)

        def draw(step: int, rows: Ints, first: int) -> Batch:
            mixed, shares = mixing(self.augmented(rows, epoch, first), self.train.labels[rows], epoch, step)
            return to_tensor(mixed), torch.from_numpy(shares)

        return EpochBatches(self.orders(epoch), draw, mixed=True, names=self.names)

    def features(self, cache: FeatureCache, epoch: int) -> EpochBatches:
        """Features (B, D) of the epoch's view, and classes (B,); epochs use the views in turn."""
        views = self.conditions.finetune.views or 0

        def draw(_step: int, rows: Ints, _first: int) -> Batch:
            number = epoch % max(1, views)
            if views:
                features = cache(f"view {number}", partial(self.view, number))
            else:
                features = cache.without_augmentation(self.train)
            return features[rows], torch.from_numpy(self.train.labels[rows])

        return EpochBatches(self.orders(epoch), draw, names=self.names)

    def view(self, number: int) -> Iterator[Tensor]:
        """All train images in order, (B, 3, S, S) uint8, augmented by draws of each image's row and `number`."""
        for first in range(0, len(self.train.labels), INFERENCE_BATCH):
            rows = np.arange(first, min(first + INFERENCE_BATCH, len(self.train.labels)))
            yield to_tensor(self.augmented(rows, number, first))

    def augmented(self, rows: Ints, epoch: int, first: int) -> Images:
        """The images at `rows`, (B, S, S, 3) uint8; `first` is the position of rows[0] in the epoch's order."""
        return self.augmentation(self.train.pixels.take(rows), epoch, first)

    def names(self, rows: Ints) -> list[str]:
        """The ids of the images at `rows`."""
        return [str(name) for name in self.train.pixels.index["image_id"].iloc[rows]]

    def batches_sha256(self) -> str:
        """Hash of which image is in which batch, over all planned epochs."""
        digest = hashlib.sha256()
        for epoch in range(sum(phase.schedule.epochs for phase in self.conditions.phases)):
            for rows in self.orders(epoch):
                digest.update(f"{epoch} {len(rows)} ".encode() + rows.tobytes())
        return digest.hexdigest()

    def augmentation_sha256(self) -> str:
        """Hash of everything that changes the images: augmentation with its draws, number of views, mixing."""
        hashes = [self.augmentation.sha256()]
        if self.conditions.finetune.views is not None:
            hashes.append(f"{self.conditions.finetune.views} views")
        if self.mixing is not None:
            hashes.append(self.mixing.sha256())
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
