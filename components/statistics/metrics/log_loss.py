"""The mean negative log-likelihood, in nats: cross-entropy of the true classes."""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, scalar_metric, weighted_mean

TINY = float(np.finfo(np.float64).eps)


@scalar_metric
def log_loss(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """At least 0; probabilities are clipped at 2.2e-16 and 1 - 2.2e-16: a certain error costs 36, not infinity."""
    chosen = probabilities[np.arange(len(labels)), labels]  # (N,)
    return weighted_mean(-np.log(np.clip(chosen, TINY, 1 - TINY)), weights)
