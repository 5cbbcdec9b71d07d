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
from components.models.principal_components import ExplainedVariance, shrink
from components.pretraining.vae.likelihood import optimal_variance, squared_error
from components.pretraining.vae.model import (
    VAE,
    active_units,
    gaussian_kl,
    gaussian_nll,
    kl_weight,
    nll_of_squares,
    penalised_kl,
    sample_posterior,
)
from components.training.pretraining.image_changes import ImageChanges, random_symmetry

MEASURED_SIDE = 32
"""Pixels to which images are shrunk before the share of variance that reconstructions explain is computed."""


@dataclass(frozen=True)
class VaeObjective:
    """The loss: (reconstruction + weight * KL) divided by the number of values of the likelihood's variable."""

    noise_variance: float | None
    """Of the Gaussian likelihood, in units of its variable; None: the optimal one of each batch."""
    beta: float
    """Final weight of the KL."""
    warmup_steps: int
    free_nats: float
    """KL of each latent that has no penalty."""


class VaeLearner(pl.LightningModule):
    """One training step: random symmetries, a corrupted input, a posterior sample, the loss and its terms.

    Batches are uint8 (B, 3, S, S). `optimise(module)` gives optimiser and schedule in Lightning's form.
    """

    def __init__(
        self,
        vae: VAE,
        objective: VaeObjective,
        optimise: Callable[[nn.Module], Any],
        corrupt: ImageChanges | None = None,
    ) -> None:
        super().__init__()
        self.vae, self.objective, self.optimise = vae, objective, optimise
        self.corrupt = corrupt or ImageChanges()

    def training_step(self, batch: Tensor, _: int) -> dict[str, Tensor]:
        """Loss and terms. The loss is per value of the variable, so that the learning rate suits any number."""
        images = random_symmetry(batch.float() / 255)
        values = self.vae.variable(images)
        noise = torch.randn(len(images), self.vae.latent_dim, device=images.device)
        expected, mean, log_var = self.vae(self.corrupt(images), noise)
        variance = _noise_variance(self.objective.noise_variance, values, expected)
        reconstruction = gaussian_nll(values, expected, variance).mean()  # ()
        kl = gaussian_kl(mean, log_var)  # (B, Z)
        weight = kl_weight(self.objective.beta, self.global_step, self.objective.warmup_steps)
        loss = (reconstruction + weight * penalised_kl(kl, self.objective.free_nats)) / values[0].numel()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl.sum(dim=1).mean()}

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `optimise`."""
        return self.optimise(self)


def _noise_variance(fixed: float | None, values: Tensor, expected: Tensor) -> Tensor:
    return optimal_variance(values, expected) if fixed is None else values.new_tensor(fixed)


@torch.no_grad()
def measure(vae: VAE, batches: Iterable[Tensor], noise_variance: float | None) -> tuple[dict[str, float], Tensor]:
    """The terms over uint8 batches (B, 3, S, S), and the posterior means (N, Z) on the CPU.

    To be called in evaluation mode. The noise is the same in each call and does not depend on the batch size, so that
    epochs can be compared. Inputs are whole. `explained` is the share of the pixels' variance that reconstructions from
    posterior means explain, at `MEASURED_SIDE` pixels, `explained_variable` that of the likelihood's variable.

    Args:
        vae: the model.
        batches: the images.
        noise_variance: of the likelihood; None: the optimal one of these images.
    """
    noise, device = np.random.default_rng(0), vae.device
    squares, kls, means, features = [], [], [], []
    of_variable, of_pixels = ExplainedVariance(), ExplainedVariance()
    for batch in batches:
        images = batch.to(device).float() / 255
        read = vae.features.pooled(images)
        mean, log_var = vae.read(read)
        draw = torch.from_numpy(noise.standard_normal(mean.shape, dtype=np.float32)).to(device)
        variable, expected = vae.variable(images), vae.decode(mean)
        squares.append(squared_error(variable, vae.decode(sample_posterior(mean, log_var, draw))))
        kls.append(gaussian_kl(mean, log_var).sum(dim=1))
        means.append(mean)
        features.append(read[:, -vae.encoder.last_dim :].float().cpu())
        of_variable.add(variable, expected)
        of_pixels.add(*(shrink(each, MEASURED_SIDE) for each in (images, vae.variable.to_images(expected))))
    numbers, errors = variable[0].numel(), torch.cat(squares).double()
    variance = errors.mean() / numbers if noise_variance is None else errors.new_tensor(noise_variance)
    reconstruction = float(nll_of_squares(errors, numbers, variance).mean())
    row = describe_terms(reconstruction, float(torch.cat(kls).double().mean()), numbers)
    row |= {"noise_variance": float(variance), "active_units": active_units(torch.cat(means))}
    row |= {"explained": of_pixels.share, "explained_variable": of_variable.share}
    return row | {"effective_rank": effective_rank(torch.cat(features))}, torch.cat(means).cpu()


def describe_terms(reconstruction: float, kl: float, numbers: int) -> dict[str, float]:
    """Means over images as a row; the ELBO has the KL with weight 1, whatever its weight in the loss.

    `reconstruction` (lower is better), `kl` and `elbo` (higher is better) are in nats an image, `..._per_dimension` in
    nats a value of the likelihood's variable, of which there are `numbers`. The ELBO bounds the log density of that
    variable: ELBOs of pixels and of whitened components cannot be compared.
    """
    terms = {"reconstruction": reconstruction, "kl": kl, "elbo": -(reconstruction + kl)}
    return terms | {f"{name}_per_dimension": value / numbers for name, value in terms.items()}
