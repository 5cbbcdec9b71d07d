"""A linear probe: how well the classes can be separated by hyperplanes in the features of a frozen encoder.

N images, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from components.models.encoder import effective_rank
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.macro_auroc import macro_auroc

Features = np.ndarray[Any, np.dtype[np.float32]]
Probabilities = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.int64]]


PENALTY = 0.01
"""Inverse strength of the L2 penalty, `C` of scikit-learn, for standardised features."""

MOST_STEPS = 1000
"""Of the optimiser; tens to a few hundred are needed."""


@dataclass(frozen=True)
class Probed:
    """Values of one set of features; all but the first are of val images."""

    features: int
    """D."""
    train_balanced_accuracy: float
    balanced_accuracy: float
    macro_auroc: float
    effective_rank: float
    """Directions that the features fill, in [1, min(N, D)], see `components.models.encoder.effective_rank`."""


def probe(train: Features, train_labels: Labels, val: Features, val_labels: Labels) -> Probed:
    """Fit the probe to train features and measure it on val features; arguments as of `predict`, labels (M,) of val."""
    on_train, on_val = predict(train, train_labels, val)
    return measure(on_train, train_labels, on_val, val_labels, val)


def predict(train: Features, train_labels: Labels, val: Features) -> tuple[Probabilities, Probabilities]:
    """Probabilities of a logistic regression that is fitted to standardised train features: on train, and on val.

    Classes are weighted to count equally, as balanced accuracy counts them. The strength of the penalty is the same for
    every encoder and stage and is not searched: a search on val would favour the encoder with the most readouts. The
    optimum is unique, so that the result depends on the features alone.

    Args:
        train: (N, D) float32.
        train_labels: (N,) in 0 to K - 1; every class occurs.
        val: (M, D) float32.

    Returns:
        (N, K) and (M, K).
    """
    scaler = StandardScaler().fit(train.astype(np.float64))
    scaled, measured = (scaler.transform(each.astype(np.float64)) for each in (train, val))
    if (
        len(scaled) < scaled.shape[1]
    ):  # the weights are a sum of train images: a rotation into their space loses nothing
        rotation = np.linalg.svd(scaled, full_matrices=False)[2]  # (N, D)
        scaled, measured = scaled @ rotation.T, measured @ rotation.T
    fitted = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=MOST_STEPS).fit(scaled, train_labels)
    return fitted.predict_proba(scaled), fitted.predict_proba(measured)


def measure(
    on_train: Probabilities, train_labels: Labels, on_val: Probabilities, val_labels: Labels, val: Features
) -> Probed:
    """What a probe with these probabilities is worth; `val` are its features (M, D)."""
    return Probed(
        features=val.shape[1],
        train_balanced_accuracy=balanced_accuracy(train_labels, on_train),
        balanced_accuracy=balanced_accuracy(val_labels, on_val),
        macro_auroc=macro_auroc(val_labels, on_val),
        effective_rank=effective_rank(torch.from_numpy(val)),
    )
