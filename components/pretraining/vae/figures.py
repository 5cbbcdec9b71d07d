"""Figures of a trained VAE: reconstructions, samples from the prior, traversals of single latents.

R rows, C columns, Z latents, S the image's side in pixels. Called without gradients, in evaluation mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from components.pretraining.vae.likelihood import PixelVariable
from components.pretraining.vae.model import VAE, gaussian_kl
from components.report.figures import tiles

COLUMNS = 8
SAMPLE_ROWS = 4
TRAVERSED = 8
"""Latents, one a row."""
REACH = 2.5
"""Standard deviations of the prior, on both sides of 0."""


def draw_reconstructions(vae: VAE, images: Tensor) -> Figure:
    """The first images (B, 3, S, S) in [0, 1], and below each the expected image of its posterior mean."""
    shown = images[:COLUMNS]
    mean, _ = vae.encode(shown.to(vae.device))
    rows = {"image": shown, "reconstruction": vae.draw(mean).cpu()}
    if not isinstance(vae.variable, PixelVariable):
        rows["all that the likelihood sees"] = vae.variable.to_images(vae.variable(shown.to(vae.device))).cpu()
    size = shown.shape[-2:]
    same = [functional.interpolate(row.float(), size=size) for row in rows.values()]  # components are of fewer pixels
    title = "Validation images and their reconstructions from the posterior mean"
    return tiles.draw(_as_array(torch.stack(same)), list(rows), title)


def draw_samples(vae: VAE) -> Figure:
    """Expected images of latents drawn from the prior, the same latents in each call."""
    noise = torch.randn(SAMPLE_ROWS * COLUMNS, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    images = torch.stack(vae.draw(noise.to(vae.device)).cpu().chunk(SAMPLE_ROWS))  # (R, C, 3, S, S)
    return tiles.draw(_as_array(images), [""] * SAMPLE_ROWS, "Samples from the prior")


def draw_traversals(vae: VAE, images: Tensor) -> Figure:
    """The posterior mean of the first image, varied along the latents with the largest mean KL over `images`."""
    mean, log_var = vae.encode(images.to(vae.device))
    kl = gaussian_kl(mean, log_var).mean(dim=0)  # (Z,)
    chosen = kl.argsort(descending=True)[:TRAVERSED]
    latents = mean[0].repeat(len(chosen), COLUMNS, 1)  # (R, C, Z)
    for row, latent in zip(latents, chosen, strict=True):
        row[:, latent] = torch.linspace(-REACH, REACH, COLUMNS)
    varied = torch.stack([vae.draw(row).cpu() for row in latents])  # (R, C, 3, S, S)
    names = [f"z{int(latent)}, {float(kl[latent]):.1f} nats" for latent in chosen]
    return tiles.draw(_as_array(varied), names, f"Latents from -{REACH:g} to {REACH:g}, those with the largest KL")


def _as_array(images: Tensor) -> np.ndarray[Any, Any]:
    """(R, C, 3, S, S) to (R, C, S, S, 3) as numpy."""
    array: np.ndarray[Any, Any] = images.float().movedim(2, -1).numpy()
    return array
