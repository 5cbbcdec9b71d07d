"""Which pixels a prediction depends on: integrated gradients (Sundararajan, Taly & Yan 2017).

What each pixel adds to the predicted class's logit on the path from a blurred image to the sharp one. Grad-CAM would
show the last feature map, which is 2 by 2 for images of 64 pixels. B batch, K classes, S the image's side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from components.models.classifier import Classifier

Array = npt.NDArray[Any]

PATH_BATCH = 256
"""Images on the path that pass through the classifier together; bounds the memory."""

BASELINE_BLUR = 1 / 8
"""Standard deviation of the baseline's Gaussian, of the image's side: light and skin colour stay, structure does not.

With a baseline further away, such as one flat colour, a head on standardised features gets values that no image has:
the integral then missed two to three times as much (HAM10000, VAE and untrained encoder).
"""

MAP_BLUR = 1 / 32
"""Standard deviation of the Gaussian that makes maps of single pixels readable, of the image's side."""

FULL_SCALE = 99
"""Percentile of a map's magnitudes that is shown, and compared, at full strength."""


@dataclass(frozen=True)
class Attribution:
    """What the pixels add to one logit of each image."""

    maps: Array  # (B, S, S) logits per pixel, colours summed, smoothed; above zero supports the class
    change: Array  # (B,) logit of the image minus logit of its baseline, which a map's sum approximates
    missing: Array  # (B,) error of that sum before smoothing: sum minus `change`


def blur(images: Tensor) -> Tensor:
    """Images (B, 3, S, S), blurred by BASELINE_BLUR of the side: the baseline of the integral."""
    width = BASELINE_BLUR * images.shape[-1]
    soft = gaussian_filter(images.cpu().numpy(), sigma=(0, 0, width, width), mode="reflect")
    return torch.from_numpy(soft).to(images)


def integrate_gradients(model: nn.Module, images: Tensor, targets: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(B, C, S, S) what each value adds to the logits `targets` (B,), and the (B,) error of their sum."""
    values, missing = IntegratedGradients(model, multiply_by_inputs=True).attribute(
        images,
        baselines=blur(images),
        target=targets,
        n_steps=steps,
        internal_batch_size=max(PATH_BATCH, len(images)),
        return_convergence_delta=True,
    )
    return values.detach(), missing.detach()


def attribute(classifier: Classifier, images: Tensor, targets: Tensor, steps: int) -> Attribution:
    """Maps of images for given classes.

    Args:
        classifier: set to evaluation mode, without gradients of its weights.
        images: (B, 3, S, S) in [0, 1], on the classifier's device.
        targets: (B,) class indices, on the same device.
        steps: of the integral.
    """
    classifier.eval().requires_grad_(False)  # only the input needs gradients
    values, missing = integrate_gradients(classifier, images, targets, steps)
    maps = values.sum(dim=1).cpu().double().numpy()  # (B, S, S)
    with torch.no_grad():
        both = classifier(images) - classifier(blur(images))  # (B, K)
    change = both.gather(1, targets[:, None])[:, 0].cpu().double().numpy()
    return Attribution(smooth(maps), change, missing.cpu().double().numpy())


def smooth(maps: Array) -> Array:
    """Maps (B, S, S) blurred by MAP_BLUR of the side; sums stay, since values are reflected at the edges."""
    width = MAP_BLUR * maps.shape[-1]
    return np.asarray(gaussian_filter(maps, sigma=(0, width, width), mode="reflect"))


def scale_maps(maps: Array) -> Array:
    """Maps (B, S, S) scaled to [-1, 1]: divided by their own FULL_SCALE percentile and clipped; zeros stay zero."""
    full = np.percentile(np.abs(maps), FULL_SCALE, axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(np.divide(maps, full, out=np.zeros_like(maps), where=full > 0), -1, 1))


def rank_correlations(first: Array, second: Array) -> Array:
    """(B,) Spearman's correlation of each pair of maps (B, S, S); NaN where one of them is constant."""
    pairs = zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)
    return np.array([float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def structural_similarities(first: Array, second: Array) -> Array:
    """(B,) mean SSIM (Wang et al. 2004) of each pair of maps (B, S, S), scaled as on the page.

    Shifted to [0, 1]: with values below zero SSIM would multiply two minus signs and call opposite maps similar.
    """
    a, b = (torch.from_numpy((scale_maps(maps) + 1) / 2)[:, None] for maps in (first, second))  # (B, 1, S, S)
    found = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)  # a tuple only where the full image is requested
    return np.asarray(found.reshape(-1).numpy())
