"""The mean negative log-likelihood, in nats: cross-entropy of the true classes.

This is the one definition of the loss. Pages, verdicts and temperatures take it from the predictions, which hold the
probabilities as float64; the training curves take it from the logits (`components.training.epoch_metrics`), with the
same value. A loss is exact up to WORST: clipping at a higher probability, as scikit-learn does at 2.2e-16 (36 nats),
would make a model that is confidently wrong look better here than in its curve, and would be no proper score.
"""

import numpy as np

from components.statistics.weighting import Array, Labels, Probabilities, scalar_metric, weighted_mean

TINY = float(np.finfo(np.float64).tiny)
"""2.2e-308, the lowest probability that float64 holds with full precision; lower ones count as this."""

WORST = float(-np.log(TINY))
"""708.4 nats, the loss of an image whose true class has a probability of TINY or less: finite, so that means exist."""


@scalar_metric
def log_loss(labels: Labels, probabilities: Probabilities, weights: Array) -> Array:
    """In [0, WORST]."""
    return weighted_mean(image_losses(labels, probabilities), weights)


def image_losses(labels: Labels, probabilities: Probabilities) -> Array:
    """The loss of each image, (N,), in nats, in [0, WORST]."""
    return 0.0 - log_probabilities(probabilities[np.arange(len(labels)), labels])  # 0.0 -: a loss of 0 has no sign


def log_probabilities(probabilities: Array) -> Array:
    """Natural logarithms, in [-WORST, 0]; any shape."""
    return np.asarray(np.log(np.clip(probabilities, TINY, 1.0)))
