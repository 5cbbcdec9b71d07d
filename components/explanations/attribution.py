"""Which pixels an answer rests on, and whether that picture depends on anything that was learned.

Integrated gradients (Sundararajan, Taly & Yan 2017): what each pixel adds to the answer's logit on the way from a
blurred image to the sharp one. Grad-CAM would show the last map, which for 64 pixels is 2 by 2.

Maps can look convincing and yet show the image alone (Adebayo et al. 2018). Hence copies of the classifier with weights
drawn anew, from the head downwards: where their maps stay the same, the maps say nothing about learning.
B batch, K classes, S the image's side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics.functional.image import structural_similarity_index_measure

from components.models.backbone import Backbone
from components.models.classifier import Classifier, Head

Array = npt.NDArray[Any]

AT_ONCE = 256
"""Images on the way that pass through the classifier together; bounds the memory."""

BLURRED = 1 / 8
"""Standard deviation of the Gaussian that makes the baseline, of the image's side: light and skin stay, structure goes.

Further away, from a patch of one colour, a head on standardised features meets values that no image has: the integral
then missed two to three times as much (HAM10000, VAE and untrained encoder).
"""

SMOOTHED = 1 / 32
"""Standard deviation of the Gaussian that makes single pixels readable, of the image's side."""

FULL = 99
"""Percentile of a map's magnitudes that is shown, and compared, at full strength."""

DEPTHS = ("head", "upper half", "everything")
"""What has been drawn anew, from the top downwards."""

STANDARDISING = "head.0"
"""The head's first layer, which has statistics and no weights."""

SILENT = 1e-8
"""Share of the largest variance; a feature that moves less over the images counts for nothing."""


@dataclass(frozen=True)
class Attribution:
    """What the pixels add to one logit of each image."""

    maps: Array  # (B, S, S) in logits a pixel, colours summed, smoothed; above zero speaks for the class
    change: Array  # (B,) the logit of the image less that of its baseline, which a map's sum is to equal
    missing: Array  # (B,) how much of it the steps lost: their sum before smoothing less `change`


def blur(images: Tensor) -> Tensor:
    """(B, 3, S, S) to the images, blurred by BLURRED of the side, from which the integral starts."""
    width = BLURRED * images.shape[-1]
    soft = gaussian_filter(images.cpu().numpy(), sigma=(0, 0, width, width), mode="reflect")
    return torch.from_numpy(soft).to(images)


def integrate_gradients(model: nn.Module, images: Tensor, targets: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(B, C, S, S) additions of each value to the logits `targets` (B,), and the (B,) error of their sum."""
    values, missing = IntegratedGradients(model, multiply_by_inputs=True).attribute(
        images,
        baselines=blur(images),
        target=targets,
        n_steps=steps,
        internal_batch_size=max(AT_ONCE, len(images)),
        return_convergence_delta=True,
    )
    return values.detach(), missing.detach()


def attribute(classifier: Classifier, images: Tensor, targets: Tensor, steps: int) -> Attribution:
    """Maps of images (B, 3, S, S) in [0, 1] for the classes `targets` (B,), in evaluation mode."""
    classifier.eval().requires_grad_(False)  # the input alone needs gradients
    values, missing = integrate_gradients(classifier, images, targets, steps)
    maps = values.sum(dim=1).cpu().double().numpy()  # (B, S, S)
    with torch.no_grad():
        both = classifier(images) - classifier(blur(images))  # (B, K)
    change = both.gather(1, targets[:, None])[:, 0].cpu().double().numpy()
    return Attribution(smooth(maps), change, missing.cpu().double().numpy())


def smooth(maps: Array) -> Array:
    """(B, S, S) blurred by SMOOTHED of the side; sums stay (what leaves at an edge is mirrored back)."""
    width = SMOOTHED * maps.shape[-1]
    return np.asarray(gaussian_filter(maps, sigma=(0, width, width), mode="reflect"))


# --- weights drawn anew


def draw_anew(backbone: Backbone, head: Head, seed: int) -> Classifier:
    """A classifier of the same shape with the first weights of the backbone's own initialisation."""
    hidden, last = head[1], head[-1]
    assert isinstance(hidden, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, 0xADE]).generate_state(1)[0]))  # no arm has these draws
        encoder = backbone.build()
        return Classifier(encoder, Head(encoder.feature_dim, hidden.out_features, 0.0, last.out_features)).eval()


def cascade(classifier: Classifier, fresh: Classifier, images: Tensor) -> Iterator[tuple[str, Classifier]]:
    """DEPTHS, each with an independent copy in which so much is as in `fresh`, from the head downwards.

    Means and variances of BatchNorm are then taken anew from `images` (B, 3, S, S): with those of other weights the
    copy would answer everything alike, and pass the check for the wrong reason.
    """
    learned = [name for name in _owners(classifier.head, "head.") if name != STANDARDISING]
    below = [*_owners(classifier.encoder, "encoder."), STANDARDISING]  # it belongs to the features that it measures
    for depth, again in zip(DEPTHS, ([], below[len(below) // 2 :], below), strict=True):
        copied = deepcopy(classifier)
        for name in (*learned, *again):
            _copy(fresh.get_submodule(name), copied.get_submodule(name))
        settle(copied, [copied.get_submodule(name) for name in again], images)
        yield depth, copied.eval().requires_grad_(False)


def _owners(module: nn.Module, prefix: str) -> list[str]:
    """The submodules that hold parameters themselves, or BatchNorm's statistics, in the order of their making."""
    holding = [
        name for name, each in module.named_modules() if [*each.parameters(False)] or isinstance(each, _BatchNorm)
    ]
    return [f"{prefix}{name}".rstrip(".") for name in holding]


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module) -> None:
    """The tensors that `source` holds itself."""
    for mine, theirs in (
        (target.named_parameters, source.named_parameters),
        (target.named_buffers, source.named_buffers),
    ):
        others = dict(theirs(recurse=False))
        for name, tensor in mine(recurse=False):
            tensor.copy_(others[name])


@torch.no_grad()
def settle(model: nn.Module, modules: Sequence[nn.Module], images: Tensor) -> None:
    """Running statistics of the BatchNorms among `modules` become those of `images` under the present weights."""
    norms = [each for each in modules if isinstance(each, _BatchNorm)]
    model.eval()
    before = [each.momentum for each in norms]
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # the plain mean over batches
        each.train()
    if norms:
        model(images)
    for each, momentum in zip(norms, before, strict=True):
        assert each.running_var is not None
        each.running_var[each.running_var <= SILENT * each.running_var.max()] = torch.inf  # else divided by nothing
        each.momentum = momentum
        each.eval()


# --- how alike two maps are


def rank_correlations(first: Array, second: Array) -> Array:
    """(B,) Spearman's correlation of each two maps (B, S, S); NaN where one is the same everywhere."""
    pairs = zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)
    return np.array([float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def structural_similarities(first: Array, second: Array) -> Array:
    """(B,) mean SSIM (Wang et al. 2004) of each two maps (B, S, S), as they are shown.

    In [0, 1], as pictures are: of values below zero SSIM would multiply two minus signs and call opposites alike.
    """
    a, b = (torch.from_numpy((shown(maps) + 1) / 2)[:, None] for maps in (first, second))  # (B, 1, S, S)
    found = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)  # a pair only where its parts are asked for
    return np.asarray(found.reshape(-1).numpy())


def shown(maps: Array) -> Array:
    """(B, S, S) in [-1, 1]: each map by its own FULL percentile of magnitudes; a map of zeros stays so."""
    full = np.percentile(np.abs(maps), FULL, axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(np.divide(maps, full, out=np.zeros_like(maps), where=full > 0), -1, 1))
