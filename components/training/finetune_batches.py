"""Train images in batches: augmented, mixed, or as features of a frozen encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.models.classifier import LOOK, Ints
from components.models.encoder import to_tensor
from components.training.augment import build
from components.training.batches import balanced_batches
from components.training.conditions import Conditions
from components.training.examples import Examples
from components.training.feature_cache import Kept
from components.training.loop import Epoch, generator, shuffled
from components.training.mixing import Mixing

Batch = tuple[Tensor, Tensor]


class Feed:
    """The train images in batches, every draw a pure function of seed and epoch; epochs count over all phases."""

    def __init__(self, train: Examples, conditions: Conditions, seed: int) -> None:
        self.train = train
        self.conditions = conditions
        self.seed = seed
        self.augmentation = build(conditions.augment, seed)
        mixes = conditions.trains_encoder and (conditions.mixup > 0 or conditions.cutmix > 0)
        self.mixing = None
        if mixes:
            self.mixing = Mixing(conditions.mixup, conditions.cutmix, len(conditions.classes), seed)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.orders(0))

    def orders(self, epoch: int) -> list[Ints]:
        """An epoch's batches as row numbers."""
        labels, batch_size = self.train.labels, self.conditions.batch_size
        if self.conditions.imbalance == "sampling":
            return balanced_batches(labels, batch_size, generator(self.seed, epoch))
        return shuffled(len(labels), batch_size, self.seed, epoch)

    def images(self, epoch: int) -> Epoch:
        """An epoch's augmented images (B, 3, S, S) uint8 and classes (B,)."""

        def draw(_step: int, rows: Ints, first: int) -> Batch:
            return to_tensor(self._augmented(rows, epoch, first)), torch.from_numpy(self.train.labels[rows])

        return Epoch(self.orders(epoch), draw, names=self.names)

    def mixed(self, epoch: int) -> Epoch:
        """The same images mixed, with shares of classes (B, K), where the conditions say so."""
        mixing = self.mixing
        if mixing is None:
            return self.images(epoch)

        def draw(step: int, rows: Ints, first: int) -> Batch:
            mixed, shares = mixing(self._augmented(rows, epoch, first), self.train.labels[rows], epoch, step)
            return to_tensor(mixed), torch.from_numpy(shares)

        return Epoch(self.orders(epoch), draw, mixed=True, names=self.names)

    def features(self, kept: Kept, epoch: int) -> Epoch:
        """An epoch's features (B, D) and classes (B,), of the view whose turn it is."""
        views = self.conditions.views or 0

        def draw(_step: int, rows: Ints, _first: int) -> Batch:
            turn = epoch % max(1, views)
            features = kept(f"view {turn}", partial(self.view, turn)) if views else kept.plain(self.train)
            return features[rows], torch.from_numpy(self.train.labels[rows])

        return Epoch(self.orders(epoch), draw, names=self.names)

    def names(self, rows: Ints) -> list[str]:
        """The images' ids."""
        return [str(name) for name in self.train.pixels.index["image_id"].iloc[rows]]

    def _augmented(self, rows: Ints, epoch: int, first: int) -> Any:
        return self.augmentation(self.train.pixels.take(rows), epoch, first)

    def view(self, number: int) -> Iterator[Tensor]:
        """All train images in order, (B, 3, S, S) uint8, each augmented by draws of its row and the view's number."""
        for first in range(0, len(self.train.labels), LOOK):
            rows = np.arange(first, min(first + LOOK, len(self.train.labels)))
            yield to_tensor(self._augmented(rows, number, first))

    def batches_sha256(self) -> str:
        """Hash of which image is in which batch, over all epochs that are planned."""
        digest = hashlib.sha256()
        for epoch in range(sum(phase.epochs for phase in self.conditions.phases)):
            for rows in self.orders(epoch):
                digest.update(f"{epoch} {len(rows)} ".encode() + rows.tobytes())
        return digest.hexdigest()

    def augmentation_sha256(self) -> str:
        """Hash of what happens to the images: policy and draws, how many views are kept, mixing."""
        prints = [self.augmentation.sha256()]
        if self.conditions.views is not None:
            prints.append(f"{self.conditions.views} views")
        if self.mixing is not None:
            prints.append(self.mixing.sha256())
        return prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()
