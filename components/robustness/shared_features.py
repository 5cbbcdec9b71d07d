"""Runs that share an encoder share its features: each picture passes each encoder once, whatever heads come after.

Under the protocol frozen all seeds of an arm have one encoder. Whether they have is asked of the weights, not of names.
N images, S the image's side, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from components.models.classifier import Classifier, Head
from components.models.encoder import Encoder, embed, read_batches, weights_sha256

Image = np.ndarray[Any, np.dtype[np.uint8]]
Probabilities = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Family:
    """One encoder and the heads of all runs that have it."""

    encoder: Encoder
    heads: Mapping[str, Head]  # by run


def gather(classifiers: Iterable[tuple[str, Classifier]]) -> tuple[Family, ...]:
    """Runs by encoder, in the order in which each encoder is first met; equal encoders are kept once."""
    encoders: dict[str, Encoder] = {}
    heads: dict[str, dict[str, Head]] = {}
    for run, classifier in classifiers:
        key = weights_sha256(classifier.encoder)
        encoders.setdefault(key, classifier.encoder)
        heads.setdefault(key, {})[run] = classifier.head
    return tuple(Family(encoders[key], heads[key]) for key in encoders)


@torch.no_grad()
def answer(families: Iterable[Family], images: Image) -> dict[str, Probabilities]:
    """(N, K) class probabilities of each run for uint8 images (N, S, S, 3), as `predict` gives them."""
    found: dict[str, Probabilities] = {}
    for family in families:
        features = embed(family.encoder, read_batches(images.__getitem__, np.arange(len(images))))  # (N, D)
        for run, head in family.heads.items():
            head.eval()
            logits = head(features.to(next(head.parameters()).device)).cpu()  # (N, K)
            found[run] = logits.double().softmax(dim=1).numpy()
    return found
