"""A variational autoencoder (Kingma & Welling 2014) around any encoder, and the terms of its ELBO as pure functions.

B batch, D features, Z latents, S the image's side in pixels, h the side of a feature map. All terms are in nats.
p(z) = N(0, I), q(z|x) = N(mean(x), exp(log_var(x))), p(v|z) = N(decode(z), noise_variance I). v is the image x on
[0, 1], or what `likelihood` makes of it.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from components.models.encoder import Encoder
from components.models.standardised_features import StandardisedFeatures
from components.pretraining.vae.likelihood import Variable, squared_error

LOG_VAR_BOUND = 10.0
"""Posterior variances are in (e^-10, e^10), where squares and exponentials in float32 cannot overflow."""

ACTIVE = 0.01
"""A latent is active where the variance of its posterior mean over images is larger (Burda et al. 2016, 5.2)."""

LEAST_CHANNELS = 16
"""Of the decoder's large feature maps: fewer save no time and blur more."""


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of each latent, (B, Z) -> (B, Z).

    Kingma & Welling 2014, eq. 10 and appendix B, with the sign that makes it a divergence.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_nll(values: Tensor, expected: Tensor, variance: Tensor) -> Tensor:
    """-log N(values; expected, variance I) of each image, (B, ...) -> (B,), with its constant; `variance` is ().

    It is the negative log of a density: with a small variance it can be negative.
    """
    return nll_of_squares(squared_error(values, expected), values[0].numel(), variance)


def nll_of_squares(squares: Tensor, numbers: int, variance: Tensor) -> Tensor:
    """As `gaussian_nll`, from sums of squares (B,) over `numbers` values."""
    return 0.5 * (squares / variance + numbers * (2 * math.pi * variance).log())


def sample_posterior(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """The reparametrised sample mean + std * noise, (B, Z) (Kingma & Welling 2014, section 2.4)."""
    return mean + (0.5 * log_var).exp() * noise


def penalised_kl(kl: Tensor, free_nats: float) -> Tensor:
    """Batch mean of the KL, at least `free_nats` for each latent, summed over latents, (B, Z) -> ().

    Kingma et al. 2016 (IAF), eq. 15, with groups of one latent.
    """
    return kl.mean(dim=0).clamp(min=free_nats).sum()


def kl_weight(beta: float, step: int, warmup_steps: int) -> float:
    """Weight of the KL at `step` (from 0): rises linearly to `beta` over the first `warmup_steps`, then constant."""
    return beta * min(1.0, (step + 1) / warmup_steps) if warmup_steps else beta


def active_units(means: Tensor) -> int:
    """Number of active latents, from posterior means (N, Z)."""
    return int((means.var(dim=0) > ACTIVE).sum())


class Decoder(nn.Module):
    """Latents to images: a linear map to (C, h, h), then stages that double the side and halve the channels.

    It mirrors the encoder's stride: h is the side of the encoder's last feature map. A stage doubles the side by a
    sub-pixel convolution (Shi et al. 2016): after a nearest-neighbour upsampling only the zero-padded borders would
    differ between positions. GroupNorm, since samples from the prior come without a batch.
    """

    def __init__(self, latent_dim: int, image_size: int, width: int, side: int) -> None:
        super().__init__()
        doublings = math.ceil(math.log2(image_size / side))
        channels = [max(LEAST_CHANNELS, width >> stage) for stage in range(doublings + 1)]
        self.start, self.image_size = (channels[0], side, side), image_size
        self.project = nn.Linear(latent_dim, math.prod(self.start))
        self.stages = nn.Sequential(*(_doubling(a, b) for a, b in pairwise(channels)))
        self.paint = nn.Conv2d(channels[-1], 3, kernel_size=3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, Z) to the expected image (B, 3, S, S) in (0, 1)."""
        low = self.project(latents).unflatten(1, self.start)  # (B, C, h, h)
        image = self.paint(self.stages(low))  # (B, 3, h 2^n, h 2^n)
        edge = (image.shape[-1] - self.image_size) // 2  # > 0 where the image's side is no multiple of the stride
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
    """An encoder with a linear head for the posterior's mean and log variance, and a decoder."""

    def __init__(self, features: StandardisedFeatures, latent_dim: int, decoder: nn.Module, variable: Variable) -> None:
        super().__init__()
        self.features = features
        self.posterior = nn.Linear(self.features.size, 2 * latent_dim)
        self.decoder = decoder
        self.variable = variable
        self.latent_dim = latent_dim

    @property
    def encoder(self) -> Encoder:
        """What is kept after training."""
        return self.features.encoder

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.posterior.weight.device

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] to the posterior's mean and log variance, (B, Z) each, float32."""
        return self.read(self.features.pooled(images))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (B, D) to the posterior's mean and log variance, (B, Z) each, float32."""
        mean, raw = self.posterior(self.features.standardise(features)).float().chunk(2, dim=1)
        # not a clamp: outside its range a clamp has no gradient
        return mean, LOG_VAR_BOUND * torch.tanh(raw / LOG_VAR_BOUND)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to the expected value of the likelihood's variable, float32."""
        expected: Tensor = self.decoder(latents).float()
        return expected

    def draw(self, latents: Tensor) -> Tensor:
        """(B, Z) to the expected image (B, 3, s, s) in [0, 1]."""
        return self.variable.to_images(self.decode(latents))

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images and standard normal noise (B, Z) to the expected variable, posterior mean and log variance."""
        mean, log_var = self.encode(images)
        return self.decode(sample_posterior(mean, log_var, noise)), mean, log_var


def last_map_side(encoder: Encoder, image_size: int) -> int:
    """Pixels, the side of the encoder's last feature map for images of this size; its state is not changed."""
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad():
        blank = torch.zeros(1, 3, image_size, image_size, device=encoder.mean.device)
        side = encoder.map(blank).shape[-1]
    encoder.train(was_training)
    return int(side)
