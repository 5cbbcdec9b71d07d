"""Training of the student: from a changed image it predicts what the teacher saw in the whole one.

B batch, T numbers of a target, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.models.encoder import effective_rank
from components.models.principal_components import ExplainedVariance
from components.models.standardised_features import StandardisedFeatures
from components.pretraining.distill.teacher import TeacherNetwork
from components.training.pretraining.image_changes import ImageChanges, random_symmetry

Taught = tuple[Tensor, Tensor]
"""Images (B, 3, S, S) uint8 and the teacher's standardised features (B, T) float16."""


class Student(nn.Module):
    """An encoder with a linear map from its features to the teacher's: images (B, 3, S, S) in [0, 1] to (B, T)."""

    def __init__(self, features: StandardisedFeatures, targets: int) -> None:
        super().__init__()
        self.features = features
        self.predict = nn.Linear(features.size, targets)

    def forward(self, images: Tensor) -> Tensor:
        """As the class says, float32."""
        predicted: Tensor = self.predict(self.features(images)).float()
        return predicted


class DistillLearner(pl.LightningModule):
    """One training step: random symmetries and changes of the student's image, the mean squared error.

    Batches are `Taught`. The targets have variance 1, so the error of the train images' mean is 1. `optimise(module)`
    gives optimiser and schedule in Lightning's form.
    """

    def __init__(
        self, student: Student, teacher: TeacherNetwork, changes: ImageChanges, optimise: Callable[[nn.Module], Any]
    ) -> None:
        super().__init__()
        self.student, self.changes, self.optimise = student, changes, optimise
        self.teacher = teacher
        """Not trained and no module of this one: resume states do not hold it."""

    def training_step(self, batch: Taught, _: int) -> dict[str, Tensor]:
        """The loss."""
        images, targets = batch
        predicted = self.student(self.changes(random_symmetry(images.float() / 255)))
        return {"loss": functional.mse_loss(predicted, targets.float())}

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `optimise`."""
        return self.optimise(self)


@torch.no_grad()
def measure(student: Student, batches: Iterable[Taught]) -> dict[str, float]:
    """On whole images, in evaluation mode: `explained`, the share of the targets' variance over these images, and more.

    `error` is the mean squared error, `effective_rank` that of the last map's pooled features.
    """
    device = next(student.parameters()).device
    explained, errors, features = ExplainedVariance(), [], []
    for images, targets in batches:
        whole, wanted = images.to(device).float() / 255, targets.to(device).float()
        predicted = student(whole)
        explained.add(wanted, predicted)
        errors.append(functional.mse_loss(predicted, wanted, reduction="none").mean(dim=1))
        features.append(student.features.pooled(whole)[:, -student.features.encoder.last_dim :].float().cpu())
    error = float(torch.cat(errors).double().mean())
    return {"error": error, "explained": explained.share, "effective_rank": effective_rank(torch.cat(features))}
