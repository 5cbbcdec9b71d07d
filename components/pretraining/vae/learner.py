"""Training of the VAE: its step, and what is measured of it after each epoch.

B batch, N images, Z latents, S the image's side in pixels. All terms are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from components.models.encoder import effective_rank
from components.pretraining.vae.model import (
    VAE,
    active_units,
    gaussian_kl,
    gaussian_nll,
    kl_weight,
    penalised_kl,
    sample_posterior,
)


@dataclass(frozen=True)
class VaeObjective:
    """The loss: (reconstruction + weight * KL) divided by the number of values in an image, 3 S S."""

    noise_variance: float
    """Of the Gaussian likelihood, on pixels in [0, 1]."""
    beta: float
    """Final weight of the KL."""
    warmup_steps: int
    free_nats: float
    """KL of each latent that has no penalty."""


class VaeLearner(pl.LightningModule):
    """One training step: random symmetries, a posterior sample, the loss and its terms.

    Batches are uint8 (B, 3, S, S). `optimise(module)` gives optimiser and schedule in Lightning's form.
    """

    def __init__(self, vae: VAE, objective: VaeObjective, optimise: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.vae, self.objective, self.optimise = vae, objective, optimise

    def training_step(self, batch: Tensor, _: int) -> dict[str, Tensor]:
        """Loss and terms. The loss is per value of the image, so that the learning rate suits images of any size."""
        images = random_symmetry(batch.float() / 255)
        noise = torch.randn(len(images), self.vae.latent_dim, device=images.device)
        expected, mean, log_var = self.vae(images, noise)
        reconstruction = gaussian_nll(images, expected, self.objective.noise_variance).mean()  # ()
        kl = gaussian_kl(mean, log_var)  # (B, Z)
        weight = kl_weight(self.objective.beta, self.global_step, self.objective.warmup_steps)
        loss = (reconstruction + weight * penalised_kl(kl, self.objective.free_nats)) / images[0].numel()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl.sum(dim=1).mean()}

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `optimise`."""
        return self.optimise(self)


def random_symmetry(images: Tensor) -> Tensor:
    """Each image (B, C, S, S) under one of the eight symmetries of the square, drawn with equal probability."""
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5  # (3, B, 1, 1, 1)
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


@torch.no_grad()
def measure(vae: VAE, batches: Iterable[Tensor], noise_variance: float) -> tuple[dict[str, float], Tensor]:
    """The terms over uint8 batches (B, 3, S, S), and the posterior means (N, Z) on the CPU.

    To be called in evaluation mode. The noise is the same in each call and does not depend on the batch size, so that
    epochs can be compared.
    """
    noise, device = np.random.default_rng(0), vae.device
    losses, divergences, means, features = [], [], [], []
    for batch in batches:
        images = batch.to(device).float() / 255
        features.append(vae.encoder(images))
        mean, log_var = vae.read(features[-1])
        draw = torch.from_numpy(noise.standard_normal(mean.shape, dtype=np.float32)).to(device)
        losses.append(gaussian_nll(images, vae.decode(sample_posterior(mean, log_var, draw)), noise_variance))
        divergences.append(gaussian_kl(mean, log_var).sum(dim=1))
        means.append(mean)
    reconstruction, kl = (float(torch.cat(term).double().mean()) for term in (losses, divergences))
    row = describe_terms(reconstruction, kl, numbers=images[0].numel())
    row |= {"active_units": active_units(torch.cat(means))}
    return row | {"effective_rank": effective_rank(torch.cat(features).float().cpu())}, torch.cat(means).cpu()


def describe_terms(reconstruction: float, kl: float, numbers: int) -> dict[str, float]:
    """Means over images as a row; the ELBO has the KL with weight 1, whatever its weight in the loss.

    `reconstruction` (lower is better), `kl` and `elbo` (higher is better) are in nats an image, `..._per_dimension` in
    nats a value of the image, of which there are `numbers`.
    """
    terms = {"reconstruction": reconstruction, "kl": kl, "elbo": -(reconstruction + kl)}
    return terms | {f"{name}_per_dimension": value / numbers for name, value in terms.items()}
