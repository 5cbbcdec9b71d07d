"""Class priors: a model that was trained as if all classes were equally frequent, asked about other frequencies.

Weighted losses and balanced batches train for a uniform prior. Bayes' rule gives the probabilities for another prior
(Saerens, Latinne, Decaestecker: Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation
14:21-41, 2002, eq. 2.4). Letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNIFORM_TRAINING = ("weights", "sampling")
"""Values of finetune.imbalance under which every class has the same weight in training."""


def class_frequencies(labels: Array, classes: int) -> Array:
    """(K,) shares of the labels (N,), which are class indices; they sum to 1.

    Raises:
        ValueError: where there is no label.
    """
    counts = np.bincount(labels, minlength=classes).astype(float)
    if not counts.sum():
        raise ValueError("class frequencies of no image, expected at least one")
    return np.asarray(counts / counts.sum())


def training_prior(imbalance: str, frequencies: Array) -> Array:
    """(K,) the prior that a model learned: uniform where training balances the classes that it has, else theirs.

    Args:
        imbalance: setting finetune.imbalance. The focal loss has no prior of its own: its images keep their shares.
        frequencies: (K,) of the train images.
    """
    if imbalance not in UNIFORM_TRAINING:
        return frequencies
    held = frequencies > 0
    return np.asarray(held / held.sum())


def change_prior(p: Array, trained: Array, wanted: Array) -> Array:
    """Probabilities (N, K) under another prior; rows sum to 1.

    Args:
        p: (N, K) of a model that learned the prior `trained`.
        trained: (K,), above zero wherever `wanted` is.
        wanted: (K,).

    Raises:
        ValueError: where a class is wanted that was not in training.
    """
    if np.any((wanted > 0) & ~(trained > 0)):
        raise ValueError("a class of the wanted prior has no train image, expected every class of it in training")
    factors = np.divide(wanted, trained, out=np.zeros(len(wanted)), where=trained > 0)
    if np.allclose(factors, factors[0], rtol=1e-12, atol=0):
        return p
    weighted = p * factors
    total = weighted.sum(1, keepdims=True)
    return np.asarray(np.divide(weighted, total, out=np.tile(wanted, (len(p), 1)), where=total > 0))


def as_mapping(prior: Array, classes: Sequence[str]) -> Mapping[str, float]:
    """Class -> share, for records."""
    return {name: float(share) for name, share in zip(classes, prior, strict=True)}


@dataclass(frozen=True)
class Priors:
    """Class frequencies that a model learned, and those of the train images, (K,) each."""

    trained: Array
    frequencies: Array

    def restore(self, p: Array) -> Array:
        """Probabilities (N, K) as trained, for the frequencies of the train images."""
        return change_prior(p, self.trained, self.frequencies)


def find_priors(train_labels: Array, classes: int, imbalance: str) -> Priors:
    """The priors of a study.

    Args:
        train_labels: (N,) class indices of the labelled train images.
        classes: number of classes.
        imbalance: setting finetune.imbalance.
    """
    frequencies = class_frequencies(train_labels, classes)
    return Priors(training_prior(imbalance, frequencies), frequencies)
