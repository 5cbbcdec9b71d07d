"""Training with labels: class-weighted cross-entropy of a linear classifier on the encoder's features.

B batch, N images, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from components.models.encoder import effective_rank
from components.models.standardised_features import StandardisedFeatures
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.log_loss import log_loss
from components.training.losses import Objective
from components.training.pretraining.image_changes import ImageChanges, random_symmetry

Labelled = tuple[Tensor, Tensor]
"""Images (B, 3, S, S) uint8 and class indices (B,) int64."""


class Classifier(nn.Module):
    """An encoder with a linear map from its features to classes: images (B, 3, S, S) in [0, 1] to logits (B, K)."""

    def __init__(self, features: StandardisedFeatures, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classify = nn.Linear(features.size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """As the class says, float32."""
        logits: Tensor = self.classify(self.features(images)).float()
        return logits


class SupervisedLearner(pl.LightningModule):
    """One training step: random symmetries and changes of each image, the objective.

    Batches are `Labelled`. `optimise(module)` gives optimiser and schedule in Lightning's form.
    """

    def __init__(
        self,
        classifier: Classifier,
        changes: ImageChanges,
        objective: Objective,
        optimise: Callable[[nn.Module], Any],
    ) -> None:
        super().__init__()
        self.classifier, self.changes, self.objective, self.optimise = classifier, changes, objective, optimise

    def training_step(self, batch: Labelled, _: int) -> dict[str, Tensor]:
        """The loss."""
        images, labels = batch
        logits = self.classifier(self.changes(random_symmetry(images.float() / 255)))
        return {"loss": self.objective(logits, labels)}

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `optimise`."""
        return self.optimise(self)


@torch.no_grad()
def measure(classifier: Classifier, batches: Iterable[Labelled]) -> dict[str, float]:
    """On whole images, in evaluation mode: `balanced_accuracy`, `log_loss` in nats, `effective_rank` of features."""
    device = next(classifier.parameters()).device
    chances, labels, features = [], [], []
    for images, classes in batches:
        pooled = classifier.features.pooled(images.to(device).float() / 255)
        logits = classifier.classify(classifier.features.standardise(pooled)).double()
        chances.append(logits.softmax(dim=1).cpu())
        labels.append(classes)
        features.append(pooled.float().cpu())
    truth, probabilities = torch.cat(labels).numpy(), torch.cat(chances).numpy()
    return {
        "balanced_accuracy": balanced_accuracy(truth, probabilities),
        "log_loss": log_loss(truth, probabilities),
        "effective_rank": effective_rank(torch.cat(features)),
    }
