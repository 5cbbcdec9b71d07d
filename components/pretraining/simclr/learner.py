"""Training of SimCLR (Chen et al. 2020): two random views of a pair come together, all other views go apart.

B pairs in a batch, P numbers of a projection, S the image's side in pixels. Loss and head are those of lightly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from components.models.encoder import effective_rank
from components.models.standardised_features import StandardisedFeatures
from components.training.pretraining.image_changes import ImageChanges, random_symmetry

Pair = tuple[Tensor, Tensor]
"""Images (B, 3, S, S) uint8 and their partners, in the same order."""


class Projector(nn.Module):
    """An encoder's features with SimCLR's head: images (B, 3, S, S) in [0, 1] to projections (B, P)."""

    def __init__(self, features: StandardisedFeatures, hidden: int, size: int) -> None:
        super().__init__()
        self.features = features
        self.head = SimCLRProjectionHead(self.features.size, hidden, size)

    def forward(self, images: Tensor) -> Tensor:
        """As the class says, float32."""
        projections: Tensor = self.head(self.features(images)).float()
        return projections


class SimclrLearner(pl.LightningModule):
    """One training step: two views of each pair, their projections, the loss and the share of pairs that are found.

    Batches are `Pair`. `optimise(module)` gives optimiser and schedule in Lightning's form. A batch that is divided,
    into micro-batches or over devices, is contrasted within each part.
    """

    def __init__(
        self, projector: Projector, changes: ImageChanges, temperature: float, optimise: Callable[[nn.Module], Any]
    ) -> None:
        super().__init__()
        self.projector, self.changes, self.optimise = projector, changes, optimise
        self.contrast = NTXentLoss(temperature=temperature)

    def training_step(self, batch: Pair, _: int) -> dict[str, Tensor]:
        """Loss in nats, and terms."""
        first, second = self.project(batch)
        return {"loss": self.contrast(first, second), "found": share_found(first, second)}

    def project(self, batch: Pair) -> Pair:
        """A random view of each image, projected: (B, P) twice. One forward pass, so BatchNorm sees both views."""
        images = torch.cat(list(batch)).float() / 255  # (2 B, 3, S, S)
        first, second = self.projector(self.changes(random_symmetry(images))).chunk(2)
        return first, second

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `optimise`."""
        return self.optimise(self)


def share_found(first: Tensor, second: Tensor) -> Tensor:
    """Share of views whose most similar other view, by cosine, is their partner, (B, P) twice -> ()."""
    views = functional.normalize(torch.cat([first, second]), dim=1)  # (2 B, P)
    similarity = (views @ views.T).fill_diagonal_(-math.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return (similarity.argmax(dim=1) == partner).float().mean()


def mean_spread(projections: Tensor) -> float:
    """Standard deviation of normalised projections (N, P), over N, times sqrt(P): 1 on the whole sphere, 0 in a point.

    Chen & He 2021 (SimSiam), section 4.1.
    """
    unit = functional.normalize(projections, dim=1)
    return float(unit.std(dim=0, correction=0).mean()) * math.sqrt(projections.shape[1])


@torch.no_grad()
def measure(learner: SimclrLearner, batches: Iterable[Pair]) -> dict[str, float]:
    """Means over pairs on `batches`, in evaluation mode, with the same views in each call.

    `contrast` is the loss in nats and `chance` that of projections that are all equal; `found` as in training; `spread`
    and `effective_rank` are of projections and of features.
    """
    device = next(learner.parameters()).device
    losses, chances, found, sizes, projections, features = [], [], [], [], [], []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for first, second in batches:
            views = learner.project((first.to(device), second.to(device)))
            losses.append(float(learner.contrast(*views)))
            chances.append(math.log(2 * len(first) - 1))
            found.append(float(share_found(*views)))
            sizes.append(len(first))
            projections.append(views[0])
            features.append(learner.projector.features.pooled(first.to(device).float() / 255).float().cpu())
    whole = sum(sizes)
    named = {"contrast": losses, "chance": chances, "found": found}
    row = {name: sum(map(float.__mul__, values, map(float, sizes))) / whole for name, values in named.items()}
    return row | {
        "spread": mean_spread(torch.cat(projections)),
        "effective_rank": effective_rank(torch.cat(features)),
    }
