"""A variational autoencoder (Kingma & Welling 2014) around any encoder, its ELBO kept as pure terms.

B batch, D features, Z latents, S the image's side in pixels, N = 3 S S numbers an image. All terms in nats.
p(z) = N(0, I), q(z|x) = N(mean(x), exp(log_var(x))), p(x|z) = N(decode(z), noise_variance I) on [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from components.models.encoder import Encoder, effective_rank

LOG_VAR_BOUND = 10.0
"""Posterior variances stay in (e^-10, e^10): inside it float32 squares and exponentials cannot overflow."""

ACTIVE = 0.01
"""A latent is active when its posterior mean varies by more than this over images (Burda et al. 2016, 5.2)."""

NARROWEST = 16
"""Channels: fewer at the decoder's wide maps save nothing and blur more."""


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) for each latent, (B, Z) -> (B, Z).

    Kingma & Welling 2014, eq. 10 and appendix B, with the sign that makes it a divergence.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_nll(images: Tensor, expected: Tensor, variance: float) -> Tensor:
    """-log N(images; expected, variance I) for each image, (B, 3, S, S) -> (B,), its constant included.

    It is a density: on pixels in [0, 1] with a small variance it falls below 0.
    """
    squares = (images - expected).square().flatten(1).sum(dim=1)  # (B,)
    numbers = images[0].numel()
    return 0.5 * (squares / variance + numbers * math.log(2 * math.pi * variance))


def sample_posterior(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """The reparametrised draw mean + std * noise, (B, Z) (Kingma & Welling 2014, section 2.4)."""
    return mean + (0.5 * log_var).exp() * noise


def penalised_kl(kl: Tensor, free_nats: float) -> Tensor:
    """Batch mean of the KL, summed over latents of which each has `free_nats` for nothing, (B, Z) -> ().

    Kingma et al. 2016 (IAF), eq. 15, with groups of one latent.
    """
    return kl.mean(dim=0).clamp(min=free_nats).sum()


def kl_weight(beta: float, step: int, warmup_steps: int) -> float:
    """`beta`, reached on a straight line over the first `warmup_steps` steps (counted from 0)."""
    return beta * min(1.0, (step + 1) / warmup_steps) if warmup_steps else beta


def active_units(means: Tensor) -> int:
    """How many of the posterior means, (images, Z), tell images apart at all."""
    return int((means.var(dim=0) > ACTIVE).sum())


class Decoder(nn.Module):
    """Latents to images: a linear map to (C, h, h), then per doubling a convolution to half the channels.

    It mirrors the encoder's stride: h is the side of the encoder's last map. A doubling is a sub-pixel
    convolution (Shi et al. 2016): copying pixels instead would leave it to the borders to tell places apart.
    GroupNorm, because samples from the prior have no batch.
    """

    def __init__(self, latent_dim: int, image_size: int, width: int, side: int) -> None:
        super().__init__()
        doublings = math.ceil(math.log2(image_size / side))
        channels = [max(NARROWEST, width >> stage) for stage in range(doublings + 1)]
        self.start, self.image_size = (channels[0], side, side), image_size
        self.project = nn.Linear(latent_dim, math.prod(self.start))
        self.stages = nn.Sequential(*(_doubling(a, b) for a, b in pairwise(channels)))
        self.paint = nn.Conv2d(channels[-1], 3, kernel_size=3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, Z) to the expected image (B, 3, S, S) in (0, 1)."""
        low = self.project(latents).unflatten(1, self.start)  # (B, C, h, h)
        image = self.paint(self.stages(low))  # (B, 3, h 2^n, h 2^n)
        edge = (image.shape[-1] - self.image_size) // 2  # > 0 where the stride does not divide the side
        cut = slice(edge, edge + self.image_size)
        expected: Tensor = image[..., cut, cut].float().sigmoid()
        return expected


def _doubling(channels: int, narrower: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4 * narrower, kernel_size=3, padding=1, bias=False),
        nn.PixelShuffle(2),
        nn.GroupNorm(4, narrower),
        nn.SiLU(),
    )


class VAE(nn.Module):
    """An encoder with a linear head for the posterior's mean and log variance, and a decoder.

    The head reads the pooled features, the very ones that a classifier will read later: what the latents
    know must stand in them.
    """

    def __init__(self, encoder: Encoder, latent_dim: int, image_size: int, decoder_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.posterior = nn.Linear(encoder.feature_dim, 2 * latent_dim)
        self.decoder = Decoder(latent_dim, image_size, decoder_width, _side(encoder, image_size))
        self.latent_dim = latent_dim

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.posterior.weight.device

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] to the posterior's mean and log variance, (B, Z) each, float32."""
        return self.read(self.encoder(images))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (B, D) to the posterior's mean and log variance, (B, Z) each, float32."""
        mean, raw = self.posterior(features).float().chunk(2, dim=1)
        # tanh rather than a clamp: beyond a clamp no gradient leads back
        return mean, LOG_VAR_BOUND * torch.tanh(raw / LOG_VAR_BOUND)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to the expected image (B, 3, S, S) in (0, 1), float32."""
        expected: Tensor = self.decoder(latents)
        return expected

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images and standard normal noise (B, Z) to the expected image, posterior mean and log variance."""
        mean, log_var = self.encode(images)
        return self.decode(sample_posterior(mean, log_var, noise)), mean, log_var


def _side(encoder: Encoder, image_size: int) -> int:
    """Of the encoder's last map, found by looking; BatchNorm's statistics are left alone."""
    learns = encoder.training
    encoder.eval()
    with torch.no_grad():
        blank = torch.zeros(1, 3, image_size, image_size, device=encoder.mean.device)
        side = encoder.map(blank).shape[-1]
    encoder.train(learns)
    return int(side)


@dataclass(frozen=True)
class Objective:
    """What is minimised: reconstruction + weight of the KL, per number of the image."""

    noise_variance: float
    beta: float
    warmup_steps: int
    free_nats: float


class Learner(pl.LightningModule):
    """One step of learning: random symmetries, a posterior sample, the objective and its terms.

    Batches are uint8 (B, 3, S, S). `optimise(module)` gives optimiser and schedule.
    """

    def __init__(self, vae: VAE, objective: Objective, optimise: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.vae, self.objective, self.optimise = vae, objective, optimise

    def training_step(self, batch: Tensor, _: int) -> dict[str, Tensor]:
        """The loss a number of the image, so that no rate depends on the image's size, and the terms."""
        images = random_symmetry(batch.float() / 255)
        noise = torch.randn(len(images), self.vae.latent_dim, device=images.device)
        expected, mean, log_var = self.vae(images, noise)
        reconstruction = gaussian_nll(images, expected, self.objective.noise_variance).mean()  # ()
        kl = gaussian_kl(mean, log_var)  # (B, Z)
        weight = kl_weight(self.objective.beta, self.global_step, self.objective.warmup_steps)
        loss = (reconstruction + weight * penalised_kl(kl, self.objective.free_nats)) / images[0].numel()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl.sum(dim=1).mean()}

    def configure_optimizers(self) -> Any:
        """What `optimise` says."""
        return self.optimise(self)


def random_symmetry(images: Tensor) -> Tensor:
    """Each image, (B, C, S, S), under one of the eight symmetries of the square, all equally likely."""
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5  # (3, B, 1, 1, 1)
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


@torch.no_grad()
def measure(vae: VAE, batches: Iterable[Tensor], noise_variance: float) -> tuple[dict[str, float], Tensor]:
    """The terms over uint8 batches (B, 3, S, S), and the posterior means (images, Z) on the CPU.

    To be called in evaluation mode. Its noise is the same in each call and for any batches, so that
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
    """Means over images as a row: the ELBO is the true one, whatever weight the KL had in learning.

    `reconstruction` (lower is better), `kl` and `elbo` (higher is better) are nats an image, and
    `..._per_dimension` nats a number of the image.
    """
    terms = {"reconstruction": reconstruction, "kl": kl, "elbo": -(reconstruction + kl)}
    return terms | {f"{name}_per_dimension": value / numbers for name, value in terms.items()}
