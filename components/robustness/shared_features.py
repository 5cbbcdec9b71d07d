"""Predictions of many runs, with one pass of each image through each distinct encoder.

Under the frozen protocol all seeds of an arm have the same encoder and differ in the head. Encoders are compared by
their weights, not by their names. N images, S the image's side, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from components.models.classifier import Classifier, Head, head_logits
from components.models.encoder import Encoder, embed, read_batches, weights_sha256

Image = np.ndarray[Any, np.dtype[np.uint8]]
Probabilities = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class SharedEncoder:
    """One encoder and the heads of all runs that use it."""

    encoder: Encoder
    heads: Mapping[str, Head]  # by run name


def group_by_encoder(classifiers: Iterable[tuple[str, Classifier]]) -> tuple[SharedEncoder, ...]:
    """Runs by encoder, in the order of first occurrence; of equal encoders one is kept in memory."""
    encoders: dict[str, Encoder] = {}
    heads: dict[str, dict[str, Head]] = {}
    for run, classifier in classifiers:
        key = weights_sha256(classifier.encoder)
        encoders.setdefault(key, classifier.encoder)
        heads.setdefault(key, {})[run] = classifier.head
    return tuple(SharedEncoder(encoders[key], heads[key]) for key in encoders)


@torch.no_grad()
def predict_all(encoders: Iterable[SharedEncoder], images: Image) -> dict[str, Probabilities]:
    """Class probabilities (N, K) of each run for images (N, S, S, 3) uint8, the same as `classifier.predict` gives."""
    found: dict[str, Probabilities] = {}
    for shared in encoders:
        features = embed(shared.encoder, read_batches(images.__getitem__, np.arange(len(images))))  # (N, D)
        for run, head in shared.heads.items():
            logits = head_logits(head, features)  # (N, K)
            found[run] = logits.double().softmax(dim=1).numpy()
    return found
