"""Copies of a classifier with randomised weights, from the head downwards (cascading randomisation).

Maps can be convincing and yet show the image alone (Adebayo et al. 2018, "Sanity checks for saliency maps"): if the
maps of a copy with randomised weights are the same, they show nothing that was learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.explanations.map_check import DEPTHS
from components.models.backbone import Architecture
from components.models.classifier import Classifier, Head

STANDARDISATION = "head.0."
"""Prefix of the head's first layer, which has running statistics and no weights."""

MIN_VARIANCE_SHARE = 1e-8
"""Of the largest variance; a feature that varies less over the images is set to zero."""


def build_random_classifier(backbone: Architecture, classifier: Classifier, seed: int) -> Classifier:
    """A classifier of the shape of `classifier`, with the initial weights of the backbone's own initialisation.

    The global random state of torch stays as it was.
    """
    hidden, last = classifier.head[1], classifier.head[-1]
    assert isinstance(hidden, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, 0xADE]).generate_state(1)[0]))  # no arm has these draws
        encoder = backbone.build().read(classifier.encoder.readout)
        return Classifier(encoder, Head(encoder.feature_sizes, hidden.out_features, 0.0, last.out_features)).eval()


def randomise_cascading(classifier: Classifier, random: Classifier, images: Tensor) -> Iterator[tuple[str, Classifier]]:
    """For each of DEPTHS an independent copy in which that part has the weights of `random`.

    Means and variances of BatchNorm are then computed again from `images`: with those of other weights the copy would
    give every image the same prediction, and pass the test for the wrong reason.

    Args:
        classifier: trained; it is not changed.
        random: of the same shape, on the same device.
        images: (B, 3, S, S) in [0, 1], train images.
    """
    found = _modules_with_state(classifier.head, "head.")
    head = [name for name in found if not name.startswith(STANDARDISATION)]
    statistics = [name for name in found if name.startswith(STANDARDISATION)]  # of the encoder's features
    below = [*_modules_with_state(classifier.encoder, "encoder."), *statistics]
    for depth, lower in zip(DEPTHS, ([], below[len(below) // 2 :], below), strict=True):
        copied = deepcopy(classifier)
        for name in (*head, *lower):
            _copy_state(random.get_submodule(name), copied.get_submodule(name))
        reset_batch_norm(copied, [copied.get_submodule(name) for name in lower], images)
        yield depth, copied.eval().requires_grad_(False)


def _modules_with_state(module: nn.Module, prefix: str) -> list[str]:
    """The submodules that hold tensors of the state dict themselves, in the order of their definition."""
    holding = dict.fromkeys(name.rpartition(".")[0] for name in module.state_dict())
    return [f"{prefix}{name}".rstrip(".") for name in holding]


@torch.no_grad()
def _copy_state(source: nn.Module, target: nn.Module) -> None:
    """Copy the tensors that `source` holds itself, not those of its submodules."""
    for own, others in (
        (target.named_parameters, source.named_parameters),
        (target.named_buffers, source.named_buffers),
    ):
        values = dict(others(recurse=False))
        for name, tensor in own(recurse=False):
            tensor.copy_(values[name])


@torch.no_grad()
def reset_batch_norm(model: nn.Module, modules: Sequence[nn.Module], images: Tensor) -> None:
    """Compute the running statistics of the BatchNorms among `modules` from images, under the current weights.

    Args:
        model: changed in place; afterwards in evaluation mode.
        modules: of the model; others than BatchNorm are ignored.
        images: input of the model, one batch.
    """
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
        constant = each.running_var <= MIN_VARIANCE_SHARE * each.running_var.max()
        each.running_var[constant] = torch.inf  # the feature becomes 0 instead of being divided by almost 0
        each.momentum = momentum
        each.eval()
