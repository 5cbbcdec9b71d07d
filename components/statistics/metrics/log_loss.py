"""The mean negative log-likelihood, in nats: cross-entropy of the true classes."""

import numpy as np

from components.statistics.metrics import Labels, Probabilities


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """At least 0; a probability below 2.2e-16 counts as that, so that a sure mistake costs 36, not infinity."""
    chosen = probabilities[np.arange(len(labels)), labels]  # (N,)
    tiny = np.finfo(np.float64).eps
    return float(-np.mean(np.log(np.clip(chosen, tiny, 1 - tiny))))
